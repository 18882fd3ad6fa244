"""Files that are there whole or not at all, and files of others that can be held."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}(\.old)?\.part", re.DOTALL)


class WriteError(OSError):
    """A file that could not be written; what stood there before still stands."""


def write_atomic(path: str | Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader or a crash never meets half of it.

    The content goes to a hidden file in the same folder, is flushed to the disk and then takes the
    name in one step. The folder must exist.

    Raises:
        WriteError: With the reason and the remedy; the old file, if any, is untouched.
    """
    path = Path(path)
    try:
        with _beside(path) as (temporary, file):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def require_parent(path: str | Path) -> None:
    """Raise `WriteError` where the folder of `path` is absent, before anybody works for nothing."""
    if not Path(path).parent.is_dir():
        raise write_error(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))


def write_folder_atomic(path: str | Path, contents: Mapping[str, bytes]) -> None:
    """Put a folder of files at `path`, in place of what is there, whole or not at all.

    The files are made in a hidden folder beside it, which then takes the name. A crash between
    the old folder's leaving and the new one's coming leaves no folder of that name, never a half.

    Raises:
        WriteError: With the reason and the remedy; what stood there before still stands.
    """
    path = Path(path)
    mark = uuid.uuid4().hex
    fresh, old = (path.with_name(f".{path.name}.{mark}{end}") for end in (".part", ".old.part"))
    try:
        try:
            fresh.mkdir()
            for name, content in contents.items():
                (fresh / name).write_bytes(content)
                _sync(fresh / name)
            if path.exists():
                path.rename(old)
            fresh.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        remove(old)
        _sync(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def remove(path: Path) -> None:
    """Away with a file or a folder; what is not there is no fault."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Away with what killed writers of this module left in `folder`.

    What is being written stays, as does what others made or only they may remove.
    """
    for path in folder.iterdir():
        if not _UNFINISHED.fullmatch(path.name) or path.is_symlink():
            continue
        with contextlib.suppress(PermissionError, FileNotFoundError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its writer is alive
        path.unlink()


def write_error(path: str | Path, error: OSError) -> WriteError:
    """`error`, met while writing `path`, as a sentence with its remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "check the disk and the path")
    raised = WriteError(f"cannot write {os.fspath(path)}: {error.strerror or error}; {remedy}")
    raised.errno = error.errno
    return raised


_REMEDIES = {
    errno.ENOSPC: "free some space on that disk and run again",
    errno.EDQUOT: "free some of your disk quota and run again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) and run again",
    errno.EACCES: "give yourself the right to write there or choose another folder",
    errno.EPERM: "give yourself the right to write there or choose another folder",
    errno.EROFS: "that file system is read-only, choose another folder",
    errno.ENOENT: "create the folder first",
    errno.ENOTDIR: "choose a path whose parent is a folder",
    errno.EISDIR: "there is a folder of that name, choose another name",
}


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new hidden file beside `path`, gone after an error, locked so that no cleaning takes it."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    with temporary.open("xb") as file:
        try:
            with contextlib.suppress(OSError):  # a file system without locks has no run folder
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                yield temporary, file
                return
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    with _beside(path) as again:  # a cleaning was faster than the lock
        yield again


def _sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
