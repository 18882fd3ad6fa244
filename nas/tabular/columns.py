"""Reading of a table's files, CSV (also gzip) and Parquet, joined on a column."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from nas.files.durable import require_size
from nas.files.sheet import SheetError, absent, decoded, read_sheet
from nas.memory import shortage
from nas.tabular.description import TableError

Cell = bool | int | float | str | None
Columns = dict[str, list[Cell]]

MAXIMUM_BYTES = 1 << 28
MAXIMUM_ROWS = 5_000_000
_CODE = re.compile(r"0\d+|[\d.]*_[\d_.]*")  # digits that are no usual spelling of a number
_CELL_BYTES = 64  # memory of a short text or a number, with its entry in a list
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read_files(paths: Sequence[Path], join: str | None) -> Columns:
    """The columns of all files together: name -> cells.

    A row is kept if every file has its entry of the column `join`.

    Args:
        paths: The files.
        join: The column that all files have in common, needed for several files.

    Raises:
        TableError: If a file cannot be read, has no rows or rows of unequal length, lacks the
            column `join` or repeats an entry in it, or two files have another column in common.
    """
    first, *others = [(path, _read(path)) for path in paths]
    columns = first[1]
    for path, more in others:
        columns = _joined(columns, more, str(join), path)
    return columns


def _read(path: Path) -> Columns:
    try:
        require_size(path, at_most=MAXIMUM_BYTES)
        if path.name.endswith(".parquet"):
            columns = _parquet(path)
        elif path.name.endswith((".csv", ".csv.gz")):
            columns = _csv(path)
        else:
            raise TableError(f"{path} is none of {', '.join(_SUFFIXES)}; convert it to one")
    except FileNotFoundError as error:
        raise TableError(f"{absent(path)}; correct the name of the table") from error
    except (OSError, EOFError, zlib.error) as error:
        raise TableError(f"cannot read the table {path}: {error}") from error
    if not columns or not next(iter(columns.values())):
        raise TableError(f"the table {path} has no rows; give one network per row at least")
    return columns


def _csv(path: Path) -> Columns:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        content = file.read(MAXIMUM_BYTES + 1)
    if len(content) > MAXIMUM_BYTES:
        raise TableError(f"the table {path} is larger than {MAXIMUM_BYTES} bytes")
    _require_room(path, content.count(b",") + content.count(b"\n"))
    try:
        sheet = read_sheet(decoded(content)).with_points()
    except SheetError as error:
        raise TableError(f"the table {path} is no CSV text: {error}") from error
    header = sheet.header
    _require_distinct(header, path)
    ragged = [number for number, row in sheet.rows if len(row) != len(header)]
    if ragged:
        raise TableError(
            f"line {ragged[0]} of {path} has another number of entries than the {len(header)} "
            f"columns ({len(ragged)} such lines); give every row an entry per column"
        )
    rows = [row for _, row in sheet.rows]
    return {name: [row[place] or None for row in rows] for place, name in enumerate(header)}


def _parquet(path: Path) -> Columns:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TableError(
            f"{path} needs pyarrow; install it with: pip install 'elastic-nas[parquet]', or give "
            "the table as CSV"
        ) from error
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            if file.metadata.num_rows > MAXIMUM_ROWS:
                raise TableError(f"{path} has {file.metadata.num_rows} rows, over {MAXIMUM_ROWS}")
            _require_room(path, file.metadata.num_rows * file.metadata.num_columns)
            table = file.read()
    except pyarrow.ArrowException as error:
        raise TableError(f"{path} is no Parquet file: {error}") from error
    _require_distinct(table.column_names, path)
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _require_room(path: Path, cells: int) -> None:
    if missing := shortage(_CELL_BYTES * cells):
        raise TableError(
            f"the table {path} has some {cells:,} cells; to read them {missing}; leave columns or "
            "rows out"
        )


def _require_distinct(names: Sequence[str], path: Path) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TableError(f"{path} has several columns {', '.join(repeated)}; name each once")


def _joined(columns: Columns, more: Columns, join: str, path: Path) -> Columns:
    for held in (columns, more):
        if join not in held:
            raise TableError(f"join = {join!r} is no column of every file; {path} is joined by it")
    common = sorted((columns.keys() & more.keys()) - {join})
    if common:
        raise TableError(
            f"{path} has the columns {', '.join(common)} as a file before it has; leave them out "
            "or rename them"
        )
    places = {plain(entry): row for row, entry in enumerate(more[join])}
    mine = [plain(entry) for entry in columns[join]]
    if len(places) < len(more[join]) or len(set(mine)) < len(mine):
        raise TableError(f"join = {join!r} repeats an entry, so rows cannot be told apart")
    kept = [(row, places[entry]) for row, entry in enumerate(mine) if entry in places]
    if not kept:
        raise TableError(f"no entry of column {join!r} is in every file; check {path}")
    left = {name: [cells[row] for row, _ in kept] for name, cells in columns.items()}
    right = {name: [cells[row] for _, row in kept] for name, cells in more.items() if name != join}
    return left | right


def plain_all(cells: Sequence[Cell]) -> list[Cell]:
    """The cells of a column as plain values; all are texts if one of them is a code such as 0011.

    A column that holds 0011 and 1011 would otherwise hold a text and a number.
    """
    if any(isinstance(cell, str) and _CODE.fullmatch(cell.strip()) for cell in cells):
        return [None if plain(cell) is None else str(cell).strip() for cell in cells]
    return [plain(cell) for cell in cells]


def plain(cell: Cell) -> Cell:
    """A cell as a number, a boolean, a text or None, whatever the format of the file.

    Whole numbers become `int`; an empty text and NaN become None. A text such as 0011 stays a
    text, since as a number it would lose its first digits.
    """
    if isinstance(cell, str):
        return _meant(cell.strip())
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        return int(cell) if cell.is_integer() else cell
    return cell


def _meant(text: str) -> Cell:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _CODE.fullmatch(text):
        return text
    try:
        return plain(float(text))
    except ValueError:
        return text or None
