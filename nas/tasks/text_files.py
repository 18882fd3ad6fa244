"""Text files: whole texts, and columns of tables; plain or compressed by gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from nas.files.sheet import Sheet, SheetError, absent, decoded, read_sheet
from nas.memory import shortage
from nas.tasks.task import TaskError

_CHUNK = 1 << 20
_COPIES = 12  # bytes of memory per byte of text: as text, and as a token of 64 bits
_SUFFIXES = (".tsv", ".csv")


def short_name(path: Path) -> str:
    """The name of a file with that of its folder, such as `sst2/train.tsv.gz`."""
    return "/".join(path.resolve().parts[-2:])


def read_text(path: Path) -> str:
    """The text of a file in UTF-8 or UTF-16; a name that ends in `.gz` is decompressed.

    Raises:
        TaskError: If the file cannot be read, is empty, is no text, or does not fit into memory.
    """
    try:
        text = decoded(_content(path))
    except SheetError as error:
        raise TaskError(f"{path} cannot be read: {error}") from error
    if not text.strip():
        raise TaskError(f"{path} holds no text; give a file with some")
    return text


def read_columns(path: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The rows of a `.tsv` or `.csv` file, each with the values of the columns `names`.

    Raises:
        TaskError: If the file cannot be read, lacks a column or a row, or a value is missing.
    """
    return _picked(path, read_table(path), names)


def read_table(path: Path) -> Sheet:
    """The table in a `.tsv` or `.csv` file, whose first line names the columns.

    Values of a `.csv` file may be in double quotes; in a `.tsv` file, quotes are characters like
    any other.

    Raises:
        TaskError: If the file cannot be read.
    """
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix not in _SUFFIXES:
        raise TaskError(
            f"{path} is neither a table of tab-separated values (.tsv) nor one of separated values "
            "(.csv), with or without .gz; rename or convert it"
        )
    tabs = suffix == ".tsv"
    try:
        return read_sheet(read_text(path), delimiter="\t" if tabs else None, quoted=not tabs)
    except SheetError as error:
        raise TaskError(f"{path} cannot be read: {error}") from error


def _picked(path: Path, sheet: Sheet, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The columns `names` of a table."""
    header = sheet.header
    for name in names:
        if header.count(name) != 1:
            raise TaskError(
                f"{path} has {header.count(name) or 'no'} columns {name!r}, given the columns "
                f"{', '.join(map(repr, header))}; name one of these"
            )
    places = [header.index(name) for name in names]
    rows: list[tuple[str, ...]] = []
    for number, row in sheet.rows:
        if len(row) != len(header):
            raise TaskError(
                f"line {number} of {path} has {len(row)} values, but there are "
                f"{len(header)} columns; repair it"
            )
        values = tuple(row[place] for place in places)
        if not all(values):
            raise TaskError(
                f"line {number} of {path} has no value in the column "
                f"{names[values.index('')]!r}; fill it in or drop the line"
            )
        rows.append(values)
    if not rows:
        raise TaskError(f"{path} has no row below the names of its columns; give some")
    return rows


def _content(path: Path) -> bytes:
    """The bytes of a file, decompressed; read in chunks, so that a bomb ends with an error."""
    held = bytearray()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                held += chunk
                if missing := shortage(len(held) * _COPIES):
                    raise TaskError(f"to read {path} {missing}; give a shorter text")
    except FileNotFoundError as error:
        raise TaskError(f"{absent(path)}; give the path of a text file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise TaskError(
            f"{path} cannot be read ({error}); give a whole file, compressed by gzip if its name "
            "ends in .gz"
        ) from error
    return bytes(held)
