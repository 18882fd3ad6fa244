"""Latency tables as CSV: reading that reports every problem, and writing row by row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence

from nas.files.sheet import SheetError, read_sheet
from nas.targets.errors import TargetError
from nas.targets.table.columns import COLUMNS, FIGURES, FORMS, KEY_COLUMNS, REQUIRED_COLUMNS
from nas.targets.table.row_reader import read_rows
from nas.targets.table.rows import KernelKey, Row

_NOTE_NAME = re.compile(r"[A-Za-z][\w .-]*", re.ASCII)
# A spreadsheet may split a note at commas or semicolons and take such a part as a formula.
_FORMULA = re.compile(r"([,;] ?'*)([=+\-@])")
_APOSTROPHE = r"\1'\2"
_ESCAPED = re.compile(r"([,;] ?'*)'([=+\-@])")


def heading(notes: Mapping[str, str], *, energy: bool = False) -> str:
    """The lines before the rows of a file: the notes and the column names.

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
    """The line of a row, with its energy if the row has one.

    Raises:
        TargetError: If a text of the key is not what a table may hold.
    """
    energy = [] if row.energy_mj is None else [repr(row.energy_mj)]
    return _joined([*_cells(key), repr(row.latency_ms), repr(row.spread_ms), row.count, *energy])


def unfilled(key: KernelKey, *, energy: bool = False) -> str:
    """The line of a kernel whose figures somebody is to enter; raises `TargetError` as `line`."""
    return _joined([*_cells(key), *[""] * len(FIGURES if energy else FIGURES[:-1])])


def _cells(key: KernelKey) -> list[object]:
    values = [getattr(key, name) for name in KEY_COLUMNS]
    for name, (form, meant) in FORMS.items():
        if not form.fullmatch(getattr(key, name)):
            raise TargetError(f"{name} = {getattr(key, name)!r} of a latency row must be {meant}")
    return values


def _joined(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def parse(text: str) -> tuple[dict[KernelKey, Row], dict[str, str], list[str]]:
    """The rows and the notes of a whole CSV file, and all problems with their line numbers."""
    try:
        sheet = read_sheet(text, by_line=True).with_points(FIGURES)
    except SheetError as error:
        return {}, {}, [str(error)]
    notes = dict(_note(words) for _, words in sheet.notes)
    problems = [
        f"line {number}: a note holds control characters: {words!r}"
        for number, words in sheet.notes
        if not "".join(_note(words)).isprintable()
    ]
    if not sheet.header:
        missing = f"line {sheet.line}: no header; the columns are {','.join(REQUIRED_COLUMNS)}"
        return {}, notes, [*problems, missing]
    found, wrong = read_rows(sheet.header, sheet.rows, header=sheet.line)
    return found, notes, [*problems, *wrong]


def _note(words: str) -> tuple[str, str]:
    name, _, value = words.lstrip("#").partition(":")
    return name.strip(), _ESCAPED.sub(r"\1\2", " ".join(value.split()))
