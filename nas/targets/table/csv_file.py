"""Latency tables as text: reading that misses nothing wrong, writing row by row."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from nas.targets.errors import TargetError
from nas.targets.operator_names import row_names
from nas.targets.table.rows import KernelKey, Row
from search_spaces.quant import FULL_PRECISION_BITS

KEY_COLUMNS = tuple(f.name for f in fields(KernelKey))
COLUMNS = (*KEY_COLUMNS, *(f.name for f in fields(Row)))
ENERGY = "energy_mj"  # the one column that a table may lack
REQUIRED_COLUMNS = tuple(name for name in COLUMNS if name != ENERGY)
_MINIMUM = {"kernel": 1, "stride": 1, "out": 1, "activation_bits": 1, "batch": 1}
_LARGEST_WHOLE = 10**9
_LARGEST_FIGURE = 1e7  # hours of one kernel, or kilojoules: such a figure is in another unit
_UNITS = {"ms": "milliseconds", "mj": "millijoules"}
_WORD = r"[A-Za-z_][\w.:@,/-]*"
_FORMS = {
    "operator": (re.compile(r"[A-Za-z_]\w*", re.ASCII), "an operator's name"),
    "inputs": (
        re.compile(r"\d{1,9}(x\d{1,9})*(\+\d{1,9}(x\d{1,9})*)*", re.ASCII),
        "shapes such as '16x8x8' or '16x8x8+16x8x8'",
    ),
    "fused": (re.compile(rf"({_WORD}(\+{_WORD})*)?", re.ASCII), "names joined by '+'"),
}
_NOTE_NAME = re.compile(r"[A-Za-z][\w .-]*", re.ASCII)
# Where a spreadsheet that splits a note at commas or semicolons would see a formula start.
_FORMULA = re.compile(r"([,;] ?'*)([=+\-@])")
_APOSTROPHE = r"\1'\2"
_ESCAPED = re.compile(r"([,;] ?'*)'([=+\-@])")


def heading(notes: Mapping[str, str], *, energy: bool = False) -> str:
    """The lines before the rows: notes and column names.

    Raises:
        TargetError: If a note's name is not plain words, or its text holds control characters.
    """
    written = ""
    for name, text in notes.items():
        said = " ".join(text.split())
        if not _NOTE_NAME.fullmatch(name) or not said.isprintable():
            raise TargetError(
                f"note {name!r} = {text!r} of a latency table must be plain words under a name of "
                "letters, digits, spaces, '_', '.' and '-'"
            )
        written += f"# {name}: {_FORMULA.sub(_APOSTROPHE, said)}\n"
    return written + _joined(COLUMNS if energy else REQUIRED_COLUMNS)


def line(key: KernelKey, row: Row) -> str:
    """One row as it stands in the file; with energy where the row has it.

    Raises:
        TargetError: If a text of the key is not what a table may hold.
    """
    values = [getattr(key, name) for name in KEY_COLUMNS]
    for name, (form, meant) in _FORMS.items():
        if not form.fullmatch(getattr(key, name)):
            raise TargetError(f"{name} = {getattr(key, name)!r} of a latency row must be {meant}")
    energy = [] if row.energy_mj is None else [repr(row.energy_mj)]
    return _joined([*values, repr(row.latency_ms), repr(row.spread_ms), row.count, *energy])


def _joined(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def parse(text: str) -> tuple[dict[KernelKey, Row], dict[str, str], list[str]]:
    """The rows and notes of a whole CSV file, and every problem with its line number."""
    lines = text.removesuffix("\n").split("\n")
    start = next((n for n, words in enumerate(lines) if not words.startswith("#")), len(lines))
    notes = dict(_note(words) for words in lines[:start])
    problems = [
        f"line {number}: a note holds control characters: {words!r}"
        for number, words in enumerate(lines[:start], 1)
        if not "".join(_note(words)).isprintable()
    ]
    if not any(lines[start:]):
        missing = f"line {start + 1}: no header; the columns are {','.join(REQUIRED_COLUMNS)}"
        return {}, notes, [*problems, missing]
    rows = ((n, _cells(words)) for n, words in enumerate(lines[start + 1 :], start + 2))
    found, wrong = read_rows(_cells(lines[start]), rows, header=start + 1)
    return found, notes, [*problems, *wrong]


def read_rows(
    columns: Sequence[str], cells: Iterable[tuple[int, Sequence[str]]], *, header: int
) -> tuple[dict[KernelKey, Row], list[str]]:
    """The rows of a table of texts, and every problem with its line number.

    Args:
        columns: The names of the columns.
        cells: Line number and texts of every row.
        header: The line number of the column names.
    """
    problems = list(_header_problems(columns, header))
    rows: dict[KernelKey, Row] = {}
    seen: dict[KernelKey, int] = {}
    known = row_names()
    for number, values in cells if not problems else ():
        found = _row(values, columns, known)
        if isinstance(found, str):
            problems.append(f"line {number}: {found}")
            continue
        key, row = found
        if key in seen:
            problems.append(f"line {number}: repeats the kernel of line {seen[key]}: {key}")
        rows[key], seen[key] = row, seen.get(key, number)
    return rows, problems


def _cells(words: str) -> list[str]:
    """The cells of one line; none where it is no CSV at all."""
    try:
        return next(csv.reader([words]), [])
    except csv.Error:
        return []


def _note(words: str) -> tuple[str, str]:
    name, _, value = words.lstrip("#").partition(":")
    return name.strip(), _ESCAPED.sub(r"\1\2", " ".join(value.split()))


def _header_problems(header: Sequence[str], number: int) -> Iterator[str]:
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    if missing:
        yield f"line {number}: columns missing: {', '.join(missing)}"
    if unknown:
        yield f"line {number}: columns not known: {', '.join(map(repr, unknown))}"
    if not missing and not unknown and len(set(header)) < len(header):
        yield f"line {number}: columns repeated"


def _row(
    cells: Sequence[str], header: Sequence[str], operators: frozenset[str]
) -> tuple[KernelKey, Row] | str:
    """The row, or what is wrong with it."""
    if len(cells) != len(header):
        return f"{len(cells)} values for {len(header)} columns"
    try:
        parsed = {name: _value(name, text) for name, text in zip(header, cells, strict=True)}
    except ValueError as error:
        return str(error)
    if parsed["operator"] not in operators:
        return (
            f"operator = {parsed['operator']!r}: no such operator; known are "
            f"{', '.join(sorted(operators))}; one of your own must be imported first"
        )
    return (
        KernelKey(**{name: parsed[name] for name in KEY_COLUMNS}),
        Row(**{name: parsed[name] for name in header if name not in KEY_COLUMNS}),
    )


def _value(name: str, text: str) -> Any:
    """One cell, or a `ValueError` that says what it must be."""
    if name in _FORMS:
        form, meant = _FORMS[name]
        if not form.fullmatch(text):
            raise ValueError(f"{name} = {_short(text)} must be {meant}")
        return text
    if (unit := name.rpartition("_")[2]) in _UNITS:
        return None if name == ENERGY and not text else _figure(name, text, unit=_UNITS[unit])
    least = _MINIMUM.get(name, 0)
    most = FULL_PRECISION_BITS if name.endswith("_bits") else _LARGEST_WHOLE
    short = text.isascii() and text.isdecimal() and len(text) <= len(str(_LARGEST_WHOLE))
    if not (short and least <= int(text) <= most):
        raise ValueError(f"{name} = {_short(text)} must be a whole number from {least} to {most}")
    return int(text)


def _figure(name: str, text: str, *, unit: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value <= _LARGEST_FIGURE:
        raise ValueError(
            f"{name} = {_short(text)} must be a number of {unit} from 0 to {_LARGEST_FIGURE:.0e}"
        )
    return value


def _short(text: str) -> str:
    """A cell as a message shows it."""
    return repr(text) if len(text) <= 60 else f"{text[:50]!r}... ({len(text)} characters)"
