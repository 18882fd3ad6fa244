"""The archive's journal file: one writer at a time, a torn end is cut, damage is located.

The file is Optuna's journal: one JSON record a line, appended and flushed to the disk. A record
written by the archive carries its place among those of the same write and a digest of itself, so
that a changed digit is damage too; Optuna and its dashboard pass over these fields.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from nas.durable import write_error

_DIGEST, _PLACE = "digest", "place"
_START = b'{"op_code":'
_LOG = logging.getLogger(__name__)


class DamagedJournal(ValueError):
    """A journal that cannot be read before its end, or a file that is no journal."""


class JournalLock:
    """Exclusive use of a journal file; whoever gets it finds the file ending in a whole line.

    The lock is the kernel's, on the file itself: a killed process leaves none behind. It has the
    interface of Optuna's locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[BinaryIO] = []

    def acquire(self) -> bool:
        """Wait for the lock; cut what a killed writer left of a line."""
        file = self._path.open("r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            _cut_unfinished(self._path, file)
        except BaseException:
            file.close()
            raise
        self._files.append(file)
        return True

    def release(self) -> None:
        """Let the next one in."""
        self._files.pop().close()


def sealed(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records of one write, each with its place in it and a digest of all that it holds."""
    placed = [{**record, _PLACE: place} for place, record in enumerate(records)]
    return [{**record, _DIGEST: _digest(record)} for record in placed]


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def repair(path: Path) -> None:
    """Make the journal readable: cut what is torn or damaged of its last write, with a warning.

    A file that does not exist yet, or is empty, is fine. What is cut was never acknowledged by
    `append` or cannot be read any more; the search measures it again.

    Raises:
        DamagedJournal: A line before the last write cannot be read, or the file is no journal.
        WriteError: The file may not be written.
    """
    if not path.exists():
        return
    lock = JournalLock(path)
    try:
        lock.acquire()
    except OSError as error:
        raise write_error(path, error) from error
    try:
        _cut_damaged_end(path)
    finally:
        lock.release()


class ReadJournal:
    """The records of a journal as it stood when this was made; the file is not written or locked.

    What `repair` would cut of the last write is left out. It has the interface of Optuna's
    journals.

    Raises:
        DamagedJournal: As `repair` does.
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            _require_journal(path, file)
            end = _damaged_end(path, file)
            file.seek(0)
            held = [line for _, start, line in _lines(file) if end is None or start < end]
        self._records = [json.loads(line) for line in held]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records from this number on."""
        yield from self._records[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse them: nobody is to write."""
        raise NotImplementedError(f"{len(logs)} records for a journal that is only read")


def _cut_unfinished(path: Path, file: BinaryIO) -> None:
    _require_journal(path, file)
    end = file.seek(0, os.SEEK_END)
    start = _last_line_start(file, end)
    if start < end:
        _cut(path, file, start)


def _require_journal(path: Path, file: BinaryIO) -> None:
    head = file.read(len(_START))
    if not _START.startswith(head):
        raise DamagedJournal(
            f"{path} is not an archive: it does not start with a record of an Optuna journal; "
            "give another path"
        )


def _cut_damaged_end(path: Path) -> None:
    with path.open("r+b") as file:
        start = _damaged_end(path, file)
        if start is not None:
            _cut(path, file, start)


def _damaged_end(path: Path, file: BinaryIO) -> int | None:
    """Where the first damaged line begins, if there is one and all that follows is of its write.

    Then the write was the last and may never have reached the disk as a whole: after a loss of
    power a later line of it can be there and an earlier one not.
    """
    file.seek(0)
    damaged: tuple[int, int, str] | None = None
    for number, start, line in _lines(file):
        reason = _damage(line)
        if reason is not None:
            damaged = damaged or (number, start, reason)
        elif damaged is not None and json.loads(line).get(_PLACE, 0) < number - damaged[0]:
            raise DamagedJournal(_located(path, damaged[0], damaged[2]))
    return None if damaged is None else damaged[1]


def _located(path: Path, number: int, reason: str) -> str:
    return (
        f"archive {path} is damaged in line {number}: {reason}; restore the file from a copy, or "
        f"keep what precedes the damage (head -n {number - 1} {path.name} > repaired): what is "
        "lost is measured again"
    )


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    start = 0
    for number, line in enumerate(file, start=1):
        yield number, start, line
        start += len(line)


def _damage(line: bytes) -> str | None:
    """What is wrong with a line, or `None`."""
    try:
        record = json.loads(line)
    except ValueError:
        return "it is no JSON"
    if not isinstance(record, dict) or "op_code" not in record:
        return "it is no record of an Optuna journal"
    expected = record.pop(_DIGEST, None)  # absent from what another program appended
    if expected is not None and expected != _digest(record):
        return "its digest does not match its content"
    return None


def _last_line_start(file: BinaryIO, end: int, *, block: int = 1 << 16) -> int:
    """Where the bytes behind the last newline begin; `end` if there are none."""
    position = end
    while position > 0:
        size = min(block, position)
        position = file.seek(position - size)
        newline = file.read(size).rfind(b"\n")
        if newline >= 0:
            return position + newline + 1
    return 0


def _cut(path: Path, file: BinaryIO, start: int) -> None:
    file.seek(start)
    dropped = file.read()
    file.truncate(start)
    os.fsync(file.fileno())
    _LOG.warning(
        "archive %s ended in a damaged record, as after a kill in the midst of writing; dropped "
        "its last %d bytes, which start with %r; what they held is measured again",
        path,
        len(dropped),
        dropped[:80],
    )
