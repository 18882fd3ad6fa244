"""Atomic writing of files, which are there whole or not at all, and reading of bounded files."""

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

from nas.files.sheet import decoded

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}(\.old)?\.part", re.DOTALL)


class WriteError(OSError):
    """The error for a file that could not be written; an older file at its path is unchanged."""


def write_atomic(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` in one step, so that no reader ever sees a part of it.

    The content is written to a hidden file in the same folder and flushed to the disk; then the
    hidden file gets the name. A crash leaves the old file or the new one. The folder must exist.

    Raises:
        WriteError: If that fails, with the reason and the remedy; an old file is unchanged.
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
    """Raise `WriteError` if the folder of `path` does not exist, before any work is done for it."""
    if not Path(path).parent.is_dir():
        raise write_error(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))


def write_folder_atomic(path: str | Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder of files to `path` in one step, in place of an old folder there.

    The files are written to a hidden folder beside `path`; then the old folder is moved away and
    the new one gets the name. A crash between these two steps leaves no folder at `path`, but never
    half a folder.

    Args:
        path: The path of the folder.
        contents: Name of a file -> its content.

    Raises:
        WriteError: If that fails, with the reason and the remedy; an old folder is unchanged.
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
    """Delete a file or a folder with its content, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Delete hidden files that writers of this module have left in `folder` when they were killed.

    Files that are being written stay, and so do files of other programs and files that this user
    may not delete.
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
    """The `WriteError` for an error raised while writing `path`, with a remedy."""
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
    """A context with a new hidden file beside `path`.

    The file is locked, so that `remove_unfinished` leaves it alone, and is deleted after an error.
    """
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
    """Flush a file, or the names in a folder, to the disk, so that they survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_text(path: Path, *, at_most: int) -> str:
    """The text of a file, in UTF-8 or UTF-16 as `nas.files.sheet.decoded` reads it.

    Raises:
        OSError: If there is no such regular file, or if it is larger than `at_most` bytes.
        SheetError: If it is no text.
    """
    require_size(path, at_most=at_most)
    return decoded(path.read_bytes())


def require_size(path: Path, *, at_most: int) -> None:
    """Raise `OSError` if `path` is no regular file or has more than `at_most` bytes."""
    size = path.stat().st_size
    if not path.is_file():
        raise OSError("it is no regular file")
    if size > at_most:
        raise OSError(f"it has {size} bytes; at most {at_most} are read")
