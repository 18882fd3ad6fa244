"""The file of a latency table that grows during measurement and survives a killed process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from nas.files.durable import write_atomic, write_error
from nas.files.sheet import SheetError, decoded
from nas.targets.errors import TargetError
from nas.targets.table.csv_file import heading, line
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row

PREDICTED = "predicted"  # the key of the note about rows that were not measured


def opened(path: Path, conditions: Mapping[str, str]) -> LatencyTable:
    """The table of measured rows in the file at `path`, which is made if it does not exist.

    An incomplete last line and predicted rows are removed from the file, so that measuring can
    continue. Old columns, columns in another order, and a file that another program saved in
    another form are replaced by the current form.

    Raises:
        TargetError: If the table cannot be read or was measured under other conditions.
    """
    content = path.read_bytes() if path.exists() else b""
    whole = _whole_lines(path, content)
    if all(words.startswith("#") for words in whole.splitlines()):
        notes = {
            **conditions,
            "date": datetime.now(UTC).date().isoformat(),
            "statistic": "10 % quantile",
        }
        write_atomic(path, heading(notes).encode())
        return LatencyTable({}, notes)
    if whole.encode() != content:
        write_atomic(path, whole.encode())
    table = LatencyTable.read(path)
    for name, value in conditions.items():
        if table.notes.get(name) != value:
            raise TargetError(
                f"latency table {path} was measured with {name} = {table.notes.get(name)!r}, now "
                f"it is {value!r}; delete the table to measure anew, or write to another file"
            )
    measured = {key: row for key, row in table.rows.items() if row.count}
    header = heading({}, energy=table.has_energy)
    if len(measured) == len(table.rows) and header in whole.splitlines(keepends=True):
        return table
    notes = {name: text for name, text in table.notes.items() if name != PREDICTED}
    write_table(path, measured, notes)
    return LatencyTable(measured, notes)


def _whole_lines(path: Path, content: bytes) -> str:
    """The text of a table up to the last line that is complete."""
    try:
        text = decoded(content).replace("\r\n", "\n").replace("\r", "\n")
    except SheetError as error:
        raise TargetError(f"latency table {path} cannot be read: {error}") from error
    return text[: text.rfind("\n") + 1]


def write_table(path: Path, rows: Mapping[KernelKey, Row], notes: Mapping[str, str]) -> None:
    """Write a whole table to `path`, atomically."""
    energy = LatencyTable(rows).has_energy
    text = heading(notes, energy=energy) + "".join(line(key, row) for key, row in rows.items())
    write_atomic(path, text.encode())


def append(path: Path, measured: Mapping[KernelKey, Row]) -> None:
    """Add rows, on the disk when this returns."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(line(key, row) for key, row in measured.items()))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(path, error) from error
