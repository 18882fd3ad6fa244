"""Latency tables as Parquet: the columns of CSV tables, with the notes as metadata of the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from types import ModuleType

from nas.files.durable import require_size
from nas.targets.errors import TargetError
from nas.targets.table.columns import COLUMNS, ENERGY, FORMS, KEY_COLUMNS, key_columns
from nas.targets.table.row_reader import read_rows
from nas.targets.table.rows import KernelKey, Row

MAXIMUM_BYTES = 1 << 28
MAXIMUM_ROWS = 5_000_000  # since a small file can claim more rows than fit in memory
MAXIMUM_COLUMNS = 100  # since a small file can claim many columns too
_OURS = b"elastic_nas."
_ARROW = "parquet-cpp-arrow"  # the library that pyarrow and pandas use
_DIGEST = b"elastic_nas_digest"  # over all rows and notes; Parquet's checksums omit the file's end


def read_parquet(path: Path) -> tuple[dict[KernelKey, Row], dict[str, str], list[str]]:
    """The rows and the notes of a file, and all problems with their row numbers (from 1).

    Raises:
        TargetError: If pyarrow is not installed.
        OSError: If the file cannot be read, or is too large.
        ValueError: If the file is not Parquet, or its digest does not match its rows and notes.
    """
    pyarrow = _pyarrow()
    require_size(path, at_most=MAXIMUM_BYTES)
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            if file.metadata.num_rows > MAXIMUM_ROWS:
                raise OSError(f"it has {file.metadata.num_rows} rows; at most {MAXIMUM_ROWS} are")
            if file.metadata.num_columns > MAXIMUM_COLUMNS:
                raise OSError(f"it has {file.metadata.num_columns} columns, not {len(COLUMNS)}")
            writer = file.metadata.created_by
            if file.metadata.metadata is None and (not writer or writer.startswith(_ARROW)):
                raise ValueError(
                    "its metadata are lost; the library that wrote it always leaves some"
                )
            table = file.read()
        columns = [[_text(cell) for cell in column.to_pylist()] for column in table.columns]
    except (pyarrow.ArrowException, OverflowError) as error:
        raise ValueError(f"it is no Parquet file that holds a table: {error}") from error
    texts = [*zip(*columns, strict=True)]
    rows, problems = read_rows(table.column_names, enumerate(texts, 1), header=0)
    metadata = table.schema.metadata or {}
    notes = _notes(metadata)
    if problems or _DIGEST not in metadata:
        return rows, notes, problems
    if metadata[_DIGEST] != _digest(_keys(table.column_names, texts), [*rows.values()], notes):
        raise ValueError(
            "its rows or notes have changed since it was written; take another copy, or, where "
            f"that is meant, take {_DIGEST.decode()!r} out of its metadata"
        )
    return rows, notes, problems


def write_parquet(path: Path, rows: Mapping[KernelKey, Row], notes: Mapping[str, str]) -> None:
    """Write rows and notes to a file that `read_parquet` can read."""
    pyarrow = _pyarrow()
    columns: dict[str, list[object]] = {
        name: [getattr(key if name in KEY_COLUMNS else row, name) for key, row in rows.items()]
        for name in COLUMNS
    }
    if all(energy is None for energy in columns[ENERGY]):
        del columns[ENERGY]
    metadata = {_OURS + name.encode(): text.encode() for name, text in notes.items()}
    metadata[_DIGEST] = _digest([astuple(key) for key in rows], [*rows.values()], notes)
    table = pyarrow.table(columns).replace_schema_metadata(metadata)
    pyarrow.parquet.write_table(table, path, write_page_checksum=True)


def _digest(keys: Sequence[object], rows: Sequence[Row], notes: Mapping[str, str]) -> bytes:
    """The digest of a table's content, which does not depend on the types of its columns."""
    figures = [[None if f is None else float(f) for f in astuple(row)] for row in rows]
    content = [keys, figures, sorted(notes.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16].encode()


def _keys(header: Sequence[str], texts: Sequence[Sequence[str]]) -> list[list[object]]:
    """The keys of rows as they stand in the file, the form that the digest is computed from."""
    columns = [(header.index(n), str if n in FORMS else int) for n in key_columns(header)]
    return [[kind(row[place]) for place, kind in columns] for row in texts]


def _text(cell: object) -> str:
    """The text that a cell would have in CSV."""
    return "" if cell is None else str(cell)


def _notes(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.removeprefix(_OURS).decode(): text.decode()
        for name, text in metadata.items()
        if name.startswith(_OURS)
    }


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TargetError(
            "a Parquet table needs pyarrow; install it with: pip install 'elastic-nas[parquet]', "
            "or give the table as CSV"
        ) from error
    return pyarrow
