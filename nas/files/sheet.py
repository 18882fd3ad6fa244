"""Tables of text, as people's programs write them: the one reader for all files of such a kind.

Spreadsheets and databases write the same table in many forms: with a byte order mark, in UTF-16,
separated by commas, semicolons or tabs, with decimal commas, with columns and lines of empty cells
at the ends. All of these are read here. What could be read in two ways is refused.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict

_SIGNS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MARKED = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SAID = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # the first line of some spreadsheets
_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_COMPARED = 1000  # rows that tell the sign between cells, if the header does not
_EMPTY = " \t,;"  # the signs of a line that holds no cell
_RESAVE = "save it anew as UTF-8 (in a spreadsheet: 'CSV UTF-8')"
Cells = tuple[int, list[str]]
_Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE


class SheetError(ValueError):
    """The error for a text that is no table; its message names the place, the fault, the remedy."""


class _Form(TypedDict):
    """How a row is written, in the words of the module `csv`."""

    delimiter: str
    quoting: _Quoting


@dataclass(frozen=True)
class Sheet:
    """A table of text. Cells have no blanks at their ends.

    Attributes:
        notes: The lines above the header that begin with `#`, each with its number.
        header: The names of the columns; empty if there is no header.
        line: The number of the line that holds the header, or that lacks it.
        rows: The cells of each row that is not empty, with the number of its (last) line. A row may
            be shorter or longer than the header. In a sheet that was read line by line, a row
            without cells stands for a line that is no row.
        delimiter: The sign between two cells.
    """

    notes: tuple[tuple[int, str], ...]
    header: tuple[str, ...]
    line: int
    rows: tuple[Cells, ...]
    delimiter: str

    def with_points(self, columns: Container[str] | None = None) -> Sheet:
        """The same sheet with decimal points in place of decimal commas.

        A column has decimal commas if all its cells are numbers that way and commas do not separate
        cells. A column that mixes commas and points stays, and so do numbers such as `1,234`
        between tabs, which may be thousands.

        Args:
            columns: The columns that hold numbers; all columns where left out.
        """
        if self.delimiter == ",":
            return self
        places = {
            place
            for place, name in enumerate(self.header)
            if (columns is None or name in columns) and self._has_commas(place)
        }
        rows = [
            (n, [c.replace(",", ".") if place in places else c for place, c in enumerate(cells)])
            for n, cells in self.rows
        ]
        return replace(self, rows=tuple(rows)) if places else self

    def _has_commas(self, place: int) -> bool:
        cells = [row[place] for _, row in self.rows if place < len(row) and row[place]]
        commas = [cell for cell in cells if "," in cell]
        unclear = self.delimiter == "\t" and all(map(_THOUSANDS.fullmatch, commas))
        return bool(commas) and not unclear and all(map(_WITH_COMMA.fullmatch, cells))


def decoded(content: bytes) -> str:
    """The text in the bytes of a file: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Raises:
        SheetError: If the bytes are no such text.
    """
    marked = next((name for mark, name in _MARKED.items() if content.startswith(mark)), None)
    try:
        text = content.decode(marked or "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SheetError(
            f"it is not {(marked or 'utf-8').upper()}: byte {error.start:,}, in line {line}, is "
            f"0x{content[error.start]:02x}; {_RESAVE}"
        ) from error
    if "\0" in text:
        raise SheetError(
            f"it holds a NUL character at position {text.index(chr(0)):,}, so it is no text; "
            f"{_RESAVE}"
        )
    return text


def read_sheet(
    text: str, *, delimiter: str | None = None, quoted: bool = True, by_line: bool = False
) -> Sheet:
    """The table in the text of a whole file.

    Args:
        text: The text.
        delimiter: The sign between cells. If left out, header and rows tell the sign.
        quoted: Whether double quotes enclose a cell, rather than being signs like any other.
        by_line: Whether each line is a row of its own, so that a wrong line spoils no other, and
            lines that begin with `#` may stand above the header. Else a cell in quotes may have
            several lines.

    Raises:
        SheetError: If the sign between cells is unclear, or a row is not well formed (in a text
            that is not read by line).
    """
    lines, first = _lines(text.removeprefix("\ufeff")), 1
    if lines and (said := _SAID.fullmatch(lines[0])):
        delimiter, lines, first = delimiter or said[1], lines[1:], 2
    marks = ("#", '"#') if by_line else ()
    above = next(
        (n for n, words in enumerate(lines) if words.strip(_EMPTY) and not words.startswith(marks)),
        len(lines),
    )
    head, body = lines[:above], lines[above:]
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    form: _Form = {"delimiter": delimiter or _delimiter(body, quoting), "quoting": quoting}
    (_, names), *rows = [*_records(body, first + above, form, by_line=by_line)] or [(0, [])]
    header = _without_padding(names, 0)
    if header and not by_line:
        header[0] = header[0].lstrip("# ")  # as numpy.savetxt writes the names of columns
    return Sheet(
        notes=tuple(_notes(head, first, form, width=len(names))),
        header=tuple(header),
        line=first + above,
        rows=tuple((number, _without_padding(cells, len(header))) for number, cells in rows),
        delimiter=form["delimiter"],
    )


def absent(path: Path) -> str:
    """The sentence that there is no file `path`, and which files beside it have a similar name."""
    folder = path.parent if path.parent.is_dir() else None
    names = sorted(each.name for each in folder.iterdir()) if folder else []
    other_case = [name for name in names if name.lower() == path.name.lower()]
    alike = [name for name in names if Path(name).suffix.lower() == path.suffix.lower()]
    near = other_case or difflib.get_close_matches(path.name, alike)
    if not near:
        return f"there is no file {path}"
    why = "upper and lower case differ" if other_case else "is one of these meant?"
    return f"there is no file {path}; beside it lies {' or '.join(map(repr, near))} ({why})"


def _lines(text: str) -> list[str]:
    """The lines of a text without their ends, which are those of any operating system."""
    end = "\n" if "\n" in text else "\r"
    return [words.removesuffix("\r") for words in text.removesuffix(end).split(end)]


def _notes(
    lines: Sequence[str], first: int, form: _Form, *, width: int
) -> Iterator[tuple[int, str]]:
    """The notes among some lines, as they were before a spreadsheet filled them up with cells."""
    sign = form["delimiter"]
    for number, words in enumerate(lines, first):
        note = sign.join(_cells(words, form)) if words.startswith('"#') else words
        padded = width > 1 and note.count(sign) >= width - 1
        if note.startswith("#"):
            yield number, note.rstrip(sign) if padded else note


def _delimiter(lines: Sequence[str], quoting: _Quoting) -> str:
    """The sign between the cells of some lines, of which the first is the header.

    Raises:
        SheetError: If it may be one or another.
    """
    widths = {
        sign: len(_cells(lines[0], {"delimiter": sign, "quoting": quoting})) if lines else 0
        for sign in _SIGNS
    }
    possible = [sign for sign, width in widths.items() if width > 1]
    if len(possible) > 1:
        rows = [words for words in lines[1:_COMPARED] if words.strip(_EMPTY)]
        fitting = [
            sign
            for sign in possible
            if all(
                len(_cells(words, {"delimiter": sign, "quoting": quoting})) == widths[sign]
                for words in rows
            )
        ]
        if len(fitting) != 1:
            raise SheetError(
                f"line 1 of the table holds {' and '.join(_SIGNS[sign] for sign in possible)}, and "
                "either may separate its columns; put names with such signs into double quotes"
            )
        return fitting[0]
    return possible[0] if possible else ","


def _records(lines: Sequence[str], first: int, form: _Form, *, by_line: bool) -> Iterator[Cells]:
    """The cells of all rows that are not empty, with the numbers of their last lines."""
    if by_line:
        for number, words in enumerate(lines, first):
            cells = _cells(words, form)
            if any(cells) or (not cells and words.strip()):
                yield number, cells
        return
    reader = csv.reader(
        (f"{words}\n" for words in lines), strict=True, skipinitialspace=True, **form
    )
    try:
        for cells in reader:
            if any(stripped := [cell.strip() for cell in cells]):
                yield first - 1 + reader.line_num, stripped
    except csv.Error as error:
        raise SheetError(
            f"line {first - 1 + reader.line_num} is no row of a table ({error}); repair it"
        ) from error


def _cells(words: str, form: _Form) -> list[str]:
    """The cells of one line; none if the line is empty or no row."""
    try:
        cells = next(csv.reader([words], strict=True, skipinitialspace=True, **form), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]


def _without_padding(cells: list[str], width: int) -> list[str]:
    """The cells without empty ones at the end, beyond `width`."""
    kept = len(cells)
    while kept > width and not cells[kept - 1]:
        kept -= 1
    return cells[:kept]
