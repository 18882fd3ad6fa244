"""Reading the rows of a table, with old or current columns, from texts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nas.targets.numerics import numerics_of
from nas.targets.table.columns import (
    FIELDS,
    KEY_COLUMNS,
    LATENCY,
    has_bits,
    header_problems,
    is_old,
    key_columns,
    shortened,
    value,
)
from nas.targets.table.old_columns import current, named
from nas.targets.table.operator_reader import OperatorReader
from nas.targets.table.operator_text import fields_text
from nas.targets.table.rows import KernelKey, Row


def read_rows(
    columns: Sequence[str], cells: Iterable[tuple[int, Sequence[str]]], *, header: int
) -> tuple[dict[KernelKey, Row], list[str]]:
    """The rows of a table of texts, and all problems with their line numbers.

    Args:
        columns: The names of the columns.
        cells: The line number and the texts of every row.
        header: The line number of the column names.
    """
    problems = list(header_problems(columns, header))
    rows: dict[KernelKey, Row] = {}
    seen: dict[KernelKey, int] = {}
    reader = KeyReader()
    empty: list[int] = []
    for number, texts in cells if not problems else ():
        if len(texts) == len(columns) and not texts[columns.index(LATENCY)]:
            empty.append(number)
            continue
        try:
            key, row = _row(texts, columns, reader)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        if key in seen:
            problems.append(f"line {number}: repeats the kernel of line {seen[key]}: {key}")
        rows[key], seen[key] = row, seen.get(key, number)
    if empty:
        problems.insert(0, _to_fill_in(empty, filled=len(rows)))
    return rows, problems


def _to_fill_in(lines: Sequence[int], *, filled: int) -> str:
    """A sentence about the rows without a latency, with the numbers of all their lines."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    named = ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    return (
        f"{len(lines)} of {len(lines) + filled} rows have no {LATENCY} yet, in lines {named}; "
        "enter milliseconds there"
    )


class KeyReader:
    """A reader of the keys of rows, with current or old columns."""

    def __init__(self) -> None:
        self._reader = OperatorReader()
        self._fields = functools.cache(self._canonical_fields)
        self._fused = functools.cache(self._canonical_fused)
        self._require_formats = functools.cache(numerics_of)

    def read(self, texts: Mapping[str, object]) -> KernelKey:
        """The key in the cells of a row, by column; raises `ValueError` as a call does."""
        if set(texts) != set(key_columns([*texts])):
            raise ValueError(
                f"a kernel has the columns {', '.join(KEY_COLUMNS)}, given {', '.join(texts)}"
            )
        return self({name: value(name, str(text)) for name, text in texts.items()})

    def __call__(self, cells: Mapping[str, Any]) -> KernelKey:
        """The key in the values of a row, by column.

        Raises:
            ValueError: If a cell is wrong; the message names the cell and the problem.
        """
        given = current(cells, self._reader) if is_old([*cells]) else dict(cells)
        given = named(given) if has_bits([*given]) else given
        given[FIELDS] = self._fields(given["operator"], given[FIELDS])
        given["fused"] = self._fused(given["fused"])
        key = KernelKey(**{name: given[name] for name in KEY_COLUMNS})
        self._require_formats(key.weight, key.activation)
        return key

    def _canonical_fields(self, operator: str, fields: str) -> str:
        """The text of an operator's fields in the canonical form of `fields_text`."""
        self._reader.kind(operator)
        try:
            return fields_text(self._reader.operator(operator, fields))
        except ValueError as error:
            raise ValueError(f"{FIELDS} = {shortened(fields)}: {error}") from error

    def _canonical_fused(self, fused: str) -> str:
        """The text of the operators behind an anchor in the canonical form of `KernelKey.of`."""
        try:
            return "+".join(map(str, self._reader.behind(fused)))
        except ValueError as error:
            raise ValueError(f"fused = {shortened(fused)}: {error}") from error


def _row(texts: Sequence[str], header: Sequence[str], reader: KeyReader) -> tuple[KernelKey, Row]:
    if len(texts) != len(header):
        raise ValueError(f"{len(texts)} values for {len(header)} columns")
    parsed = {name: value(name, text) for name, text in zip(header, texts, strict=True)}
    figures = Row.__dataclass_fields__
    return (
        reader({name: cell for name, cell in parsed.items() if name not in figures}),
        Row(**{name: cell for name, cell in parsed.items() if name in figures}),
    )
