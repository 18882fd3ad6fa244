"""Latency tables as text: reading that misses nothing wrong, writing row by row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from nas.targets.rows import KernelKey, Row
from search_spaces.quant import FULL_PRECISION_BITS

KEY_COLUMNS = tuple(f.name for f in fields(KernelKey))
COLUMNS = (*KEY_COLUMNS, *(f.name for f in fields(Row)))
_TEXT_COLUMNS = {"operator", "inputs", "fused"}
_MINIMUM = {"kernel": 1, "stride": 1, "out": 1, "activation_bits": 1, "batch": 1, "count": 1}


def heading(notes: Mapping[str, str]) -> str:
    """The lines before the rows: notes and column names."""
    written = "".join(f"# {key}: {' '.join(text.split())}\n" for key, text in notes.items())
    return written + _joined(COLUMNS)


def line(key: KernelKey, row: Row) -> str:
    """One row as it stands in the file."""
    values = [getattr(key, name) for name in KEY_COLUMNS]
    return _joined([*values, repr(row.latency_ms), repr(row.spread_ms), row.count])


def _joined(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def parse(text: str) -> tuple[dict[KernelKey, Row], dict[str, str], list[str]]:
    """The rows and notes of a whole file, and every problem with its line number."""
    lines = text.removesuffix("\n").split("\n")
    start = next((n for n, words in enumerate(lines) if not words.startswith("#")), len(lines))
    notes = dict(_note(words) for words in lines[:start])
    if not any(lines[start:]):
        return {}, notes, [f"line {start + 1}: no header; the columns are {','.join(COLUMNS)}"]
    header = _cells(lines[start])
    problems = list(_header_problems(header, start + 1))
    rows: dict[KernelKey, Row] = {}
    seen: dict[KernelKey, int] = {}
    if not problems:
        for number, words in enumerate(lines[start + 1 :], start + 2):
            found = _row(_cells(words), header)
            if isinstance(found, str):
                problems.append(f"line {number}: {found}")
                continue
            key, row = found
            if key in seen:
                problems.append(f"line {number}: repeats the kernel of line {seen[key]}: {key}")
            rows[key], seen[key] = row, seen.get(key, number)
    return rows, notes, problems


def _cells(words: str) -> list[str]:
    """The cells of one line; none where it is no CSV at all."""
    try:
        return next(csv.reader([words]), [])
    except csv.Error:
        return []


def _note(words: str) -> tuple[str, str]:
    key, _, value = words.lstrip("#").partition(":")
    return key.strip(), value.strip()


def _header_problems(header: Sequence[str], number: int) -> Iterator[str]:
    missing = [name for name in COLUMNS if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    if missing:
        yield f"line {number}: columns missing: {', '.join(missing)}"
    if unknown:
        yield f"line {number}: columns not known: {', '.join(map(repr, unknown))}"
    if not missing and not unknown and len(header) > len(COLUMNS):
        yield f"line {number}: columns repeated"


def _row(cells: Sequence[str], header: Sequence[str]) -> tuple[KernelKey, Row] | str:
    """The row, or what is wrong with it."""
    if len(cells) != len(header):
        return f"{len(cells)} values for {len(header)} columns"
    values = dict(zip(header, cells, strict=True))
    try:
        parsed = {name: _value(name, values[name]) for name in COLUMNS}
    except ValueError as error:
        return str(error)
    return (
        KernelKey(**{name: parsed[name] for name in KEY_COLUMNS}),
        Row(**{name: parsed[name] for name in COLUMNS if name not in KEY_COLUMNS}),
    )


def _value(name: str, text: str) -> Any:
    """One cell, or a `ValueError` that says what it must be."""
    if name in _TEXT_COLUMNS:
        if not text and name != "fused":
            raise ValueError(f"{name} is empty")
        return text
    if name.endswith("_ms"):
        return _milliseconds(name, text)
    least = _MINIMUM.get(name, 0)
    most = FULL_PRECISION_BITS if name.endswith("_bits") else math.inf
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        upper = "" if most == math.inf else f" to {most:.0f}"
        raise ValueError(f"{name} = {text!r} must be a whole number from {least}{upper}")
    return int(text)


def _milliseconds(name: str, text: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} = {text!r} must be a finite number of milliseconds, not negative")
    return value
