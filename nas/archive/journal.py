"""The archive's journal file: one writer at a time, an incomplete end is cut, damage is located.

The file is Optuna's journal: one JSON record per line, appended and flushed to the disk. Every
record also holds its place among the records of the same write, the digest of the record before,
and its own digest. These fields reveal changed digits, lost lines and lines that changed places;
Optuna and its dashboard ignore them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from nas.archive.records import record_problem
from nas.files.durable import write_error

PLACE, PREVIOUS, DIGEST = "place", "previous", "digest"
SEAL = (PLACE, PREVIOUS, DIGEST)
_START = b'{"op_code":'
_LOG = logging.getLogger(__name__)


class DamagedJournal(ValueError):
    """A journal that cannot be read before its end, or a file that is no journal."""


@dataclass(frozen=True)
class Fault:
    """A fault in a line of a journal.

    Attributes:
        reason: The fault in words.
        kind: `torn` for a line that a crash during writing can leave; `unsealed` for a line that
            an earlier version or another program wrote; `wrong` for a whole line in a wrong place.
    """

    reason: str
    kind: Literal["torn", "unsealed", "wrong"]


class Journal:
    """A journal file with the interface that Optuna's `JournalStorage` needs; made if missing.

    The lock is the kernel's lock on the file itself, so a killed process leaves no lock behind.
    Incomplete or damaged lines of the last write are cut with a warning: `append_logs` never
    acknowledged them, or they cannot be read any more. The search measures those genotypes again.

    Args:
        path: The file; its folder must exist.

    Raises:
        DamagedJournal: A line before the last write cannot be read, a record is lost, out of place
            or without a digest, or the file is no journal.
        WriteError: The file may not be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends = [(0, "")]  # the end and the digest of every record read so far
        try:
            path.open("ab").close()
            with _locked(path) as file:
                end = _damaged_end(path, file)
                if end is not None:
                    _cut(path, file, end)
        except OSError as error:
            raise write_error(path, error) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append the records to the file, by one write and one flush to the disk."""
        with _locked(self._path) as file:
            previous = _last_digest(self._path, file)
            file.seek(0, os.SEEK_END)
            file.write(b"".join(map(written, sealed(logs, previous))))
            file.flush()
            os.fsync(file.fileno())

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records from number `log_number_from` on, counted from 0."""
        try:
            records = self._records(log_number_from)
        except DamagedJournal:  # or a torn line was being cut while this looked
            with _locked(self._path):
                records = self._records(log_number_from)
        return iter(records)

    def refuse(self, number: int, reason: str) -> DamagedJournal:
        """The exception for the record of this number, from 0."""
        return _refusal(self._path, number + 1, Fault(reason, "wrong"))

    def _records(self, number: int) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        offset, previous = self._ends[number]
        for line in _lines(self._path, offset):
            number, offset = number + 1, offset + len(line)
            record, fault = read(line, None if number < len(self._ends) else previous)
            if fault is not None:
                raise _refusal(self._path, number, fault)
            previous = record[DIGEST]
            if number == len(self._ends):
                self._ends.append((offset, previous))
            records.append(record)
        return records


class ReadJournal:
    """A read-only copy of a journal, taken when this object is made; has `Journal`'s interface.

    The file is not written, locked or created; lines that `Journal` would cut are left out.

    Args:
        path: The file.

    Raises:
        DamagedJournal: As `Journal` raises it.
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            _require_journal(path, file)
            end = _damaged_end(path, file)
            file.seek(0)
            held = file.read() if end is None else file.read(end)
        self._records = [read(line, None)[0] for line in held.splitlines()]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse to write, since the journal is only read."""
        raise NotImplementedError(f"{len(logs)} records for a journal that is only read")

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records from number `log_number_from` on, counted from 0."""
        return iter(self._records[log_number_from:])

    def refuse(self, number: int, reason: str) -> DamagedJournal:
        """The exception for the record of this number, from 0."""
        return _refusal(self._path, number + 1, Fault(reason, "wrong"))


def sealed(records: Sequence[Mapping[str, Any]], previous: str) -> Iterator[dict[str, Any]]:
    """The records of one write with place and digests, after the record of digest `previous`."""
    for place, record in enumerate(records):
        placed = {**record, PLACE: place, PREVIOUS: previous}
        previous = digest(placed)
        yield {**placed, DIGEST: previous}


def digest(content: Mapping[str, Any]) -> str:
    """The digest of a record that does not hold its own digest yet: 16 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def written(record: Mapping[str, Any]) -> bytes:
    """The line of a journal for a record, as bytes."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def read(line: bytes, previous: str | None) -> tuple[dict[str, Any], Fault | None]:
    """The record of a line, and its fault or `None`.

    Args:
        line: The line, with or without the newline.
        previous: The digest of the record before; with `None`, it is not compared.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}, Fault("it is no JSON", "torn")
    if not isinstance(record, dict) or "op_code" not in record:
        return {}, Fault("it is no record of an Optuna journal", "torn")
    return record, _seal_fault(record, previous) or _content_fault(record)


def _seal_fault(record: Mapping[str, Any], previous: str | None) -> Fault | None:
    rest = {name: value for name, value in record.items() if name != DIGEST}
    if not {*SEAL} & {*record}:
        return Fault("it has no digest: an earlier version or another program wrote it", "unsealed")
    if record.get(DIGEST) != digest(rest):
        return Fault("its digest does not match its content", "torn")
    if PREVIOUS not in record:
        return Fault("an earlier version wrote it, which did not chain records", "unsealed")
    if not isinstance(record.get(PLACE), int):
        return Fault(f"its place is {record.get(PLACE)!r}, which is no number", "wrong")
    if previous is not None and record[PREVIOUS] != previous:
        reason = "it does not follow the record before it; one is lost between, or out of place"
        return Fault(reason, "wrong")
    return None


def _content_fault(record: Mapping[str, Any]) -> Fault | None:
    content = {name: value for name, value in record.items() if name not in SEAL}
    reason = record_problem(content)
    return None if reason is None else Fault(reason, "wrong")


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """A context with exclusive use of a journal file, whose last line is whole."""
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _cut_unfinished(path, file)
        yield file


def _lines(path: Path, offset: int) -> Iterator[bytes]:
    """The whole lines of a file from the byte `offset` on."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) < offset:
            raise DamagedJournal(
                f"archive {path} lost records while it was in use: it is shorter than before; "
                "restore the file from a copy, or go on with what is left by running again"
            )
        file.seek(offset)
        for line in file:
            if line.endswith(b"\n"):  # else another process is still writing the line
                yield line


def _last_digest(path: Path, file: BinaryIO) -> str:
    """The digest of the last record; an empty text where there is none."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return ""
    file.seek(_last_line_start(file, end - 1))
    record, fault = read(file.read(), None)
    if fault is not None:
        raise DamagedJournal(f"the last record of archive {path} cannot be used: {fault.reason}")
    return str(record[DIGEST])


def _require_journal(path: Path, file: BinaryIO) -> None:
    file.seek(0)
    head = file.read(len(_START))
    if not _START.startswith(head):
        raise DamagedJournal(
            f"{path} is not an archive: it does not start with a record of an Optuna journal; "
            "give another path"
        )


def _cut_unfinished(path: Path, file: BinaryIO) -> None:
    _require_journal(path, file)
    end = file.seek(0, os.SEEK_END)
    start = _last_line_start(file, end)
    if start < end:
        _cut(path, file, start)


def _damaged_end(path: Path, file: BinaryIO) -> int | None:
    """The byte at which the first damaged line begins, if that line is of the last write.

    The last write may not have reached the disk as a whole: after a loss of power, a later line of
    the write can be on the disk and an earlier line missing. None if no line is damaged.

    Raises:
        DamagedJournal: The damaged line is of an earlier write.
    """
    damaged: tuple[int, int, Fault] | None = None
    start, previous = 0, ""
    file.seek(0)
    for number, line in enumerate(file, start=1):
        record, fault = read(line, None if damaged else previous)
        if fault is not None:
            damaged = damaged or (number, start, fault)
        if damaged is not None and not _of_last_write(record, fault, number - damaged[0]):
            raise _refusal(path, damaged[0], damaged[2])
        start, previous = start + len(line), record.get(DIGEST, "")
    return None if damaged is None else damaged[1]


def _of_last_write(record: Mapping[str, Any], fault: Fault | None, behind: int) -> bool:
    """Whether a line may be of the same write as the damaged line `behind` lines before it."""
    return fault.kind == "torn" if fault is not None else record[PLACE] >= behind


def _refusal(path: Path, number: int, fault: Fault) -> DamagedJournal:
    seal = f"`nas archive seal {path.parent}` keeps every whole record and says what is lost"
    if fault.kind == "unsealed":
        return DamagedJournal(
            f"archive {path} cannot be checked from line {number} on: {fault.reason}; "
            f"`nas archive seal {path.parent}` checks its records and chains them, once"
        )
    if fault.kind == "torn":
        seal = (
            f"keep what precedes the damage (head -n {number - 1} {path.name} > repaired): what is "
            f"lost is measured again; or {seal}"
        )
    return DamagedJournal(
        f"archive {path} is damaged in line {number}: {fault.reason}; restore the file from a "
        f"copy, or {seal}"
    )


def _last_line_start(file: BinaryIO, end: int, *, block: int = 1 << 16) -> int:
    """The position of the first byte after the last newline; `end` if there is no such byte."""
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
