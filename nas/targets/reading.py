"""Reading files that others wrote: of a size that can be held, and text."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path, *, at_most: int) -> str:
    """The UTF-8 text of a file.

    Raises:
        OSError: If there is no such regular file, or if it is larger than `at_most` bytes.
        ValueError: If it is not UTF-8.
    """
    require_size(path, at_most=at_most)
    return path.read_text(encoding="utf-8")


def require_size(path: Path, *, at_most: int) -> None:
    """Raise `OSError` if `path` is no regular file of at most so many bytes."""
    size = path.stat().st_size
    if not path.is_file():
        raise OSError("it is no regular file")
    if size > at_most:
        raise OSError(f"it has {size} bytes; at most {at_most} are read")
