"""Safe reading of published files: size is bounded, no code runs, any fault is a `TargetError`."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from nas.files.sheet import SheetError, decoded, read_sheet
from nas.targets.adapters.imported import Unmappable, reject
from search_spaces.documents import Source, UnreadableFile, parse_json, shortened

MAX_BYTES = 64 << 20
MAX_LENGTH = 1 << 20
_GZIP, _ZIP, _NUMPY = b"\x1f\x8b", b"PK\x03\x04", b"\x93NUMPY"
_PICKLES = (".pkl", ".pickle", ".pt", ".pth")
_UNPICKLE = (
    "reading a pickle runs whatever code its author put into it; on a machine that you can lose, "
    "load it and write the plain dictionary with json.dump, then import that file"
)


def content(path: Path) -> bytes:
    """The bytes of a file; a gzip file is decompressed.

    Raises:
        TargetError: If the file cannot be read, is larger than `MAX_BYTES`, or is a pickle or zip.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if start == _GZIP else file
            data = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise reject(path, f"cannot be read ({error})", "give a whole, readable file") from error
    if len(data) > MAX_BYTES:
        raise reject(path, f"holds more than {MAX_BYTES >> 20} MiB", "no public table is so large")
    if path.suffix in _PICKLES or _is_pickle(data):
        raise reject(path, "is a pickle, which is not read", _UNPICKLE)
    if data.startswith(_ZIP):
        raise reject(path, "is a zip archive", "unzip it and import the table in it")
    return data


def _is_pickle(data: bytes) -> bool:
    """Whether the bytes begin like a pickle of a binary protocol."""
    return data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05"


def text(path: Path) -> str:
    """The text of a UTF-8 file; raises `TargetError` as `content` does."""
    try:
        return decoded(content(path))
    except SheetError as error:
        raise reject(path, f"is no text: {error}", "or fetch the file again") from error


def _ended(path: Path, words: str) -> str:
    """The text `words`, once it is found to end with a line break.

    Without a line break at its end, the file may be cut off and its last figure may lack digits.
    """
    if words and not words.endswith("\n"):
        raise reject(
            path,
            "stops in the middle of a line, so its last figure may be cut off",
            "fetch it again, or end the last line if it is whole",
        )
    return words


def table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with a header, each with its line number in words.

    Args:
        path: The file.
        columns: The columns that the header must name. Further columns are kept.

    Raises:
        TargetError: If a column is missing or repeated, or a row has another number of values.
    """
    try:
        sheet = read_sheet(_ended(path, text(path))).with_points()
    except SheetError as error:
        raise reject(path, f"is no usable CSV: {error}", "or fetch the file again") from error
    header = sheet.header
    missing = [name for name in columns if name not in header]
    if missing or len(set(header)) < len(header):
        what = f"lacks the columns {', '.join(missing)}" if missing else "repeats a column"
        raise reject(path, what, f"the header must name {', '.join(columns)}, each once")
    for number, cells in sheet.rows:
        if len(cells) != len(header):
            fault = f"line {number} has {len(cells)} values for {len(header)} columns"
            raise reject(path, fault, "the file may be cut off; fetch it again")
        yield f"line {number}", dict(zip(header, cells, strict=True))


def headless(path: Path, columns: int) -> Iterator[tuple[str, list[str]]]:
    """The rows of a CSV file without a header, each with its line number in words.

    Raises:
        TargetError: If a row does not have `columns` values.
    """
    for number, line in enumerate(_ended(path, text(path)).splitlines(), 1):
        if line.strip():
            cells = line.split(",")
            if len(cells) != columns:
                fault = f"line {number} has {len(cells)} values, not {columns}"
                raise reject(path, fault, "the file may be cut off; fetch it again")
            yield f"line {number}", cells


def document(path: Path) -> Any:
    """The content of a JSON file; raises `TargetError`, also if an object has a key twice."""
    try:
        return plain_json(text(path))
    except ValueError as error:
        raise reject(path, f"is no usable JSON ({error})", "fetch the file again") from error


def plain_json(words: str) -> Any:
    """The content of a JSON text, with NaN and infinite numbers; raises `ValueError`."""
    try:
        return parse_json(words, Source("JSON", ""), finite=False)
    except UnreadableFile as error:
        raise ValueError(f"{error.place}: {error.fault}" if error.place else error.fault) from error


class _Plain(yaml.SafeLoader):
    """A safe YAML loader that refuses aliases and repeated keys.

    Aliases would let a short file grow without bound.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it uses aliases, which no published table does")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        found = super().construct_mapping(node, deep=deep)
        if len(found) < len(node.value):
            raise yaml.YAMLError(f"keys are repeated near line {node.start_mark.line + 1}")
        return found


def yaml_document(path: Path) -> Any:
    """The content of a YAML or JSON file; raises `TargetError`."""
    words = text(path)
    if words.lstrip().startswith(("{", "[")):
        return document(path)
    try:
        return yaml.load(_ended(path, words), Loader=_Plain)  # a subclass of the safe loader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        cause = " ".join(str(error).split())
        raise reject(path, f"is no usable YAML ({cause})", "fetch the file again") from error


def mapping(path: Path, loaded: Any) -> dict[str, Any]:
    """The parsed content `loaded` as a dictionary with text keys; raises `TargetError` if other."""
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise reject(path, "holds no map of names to figures", "is it of another format?")
    return loaded


def array(path: Path) -> NDArray[np.float64]:
    """The numbers of a `.npy` file; raises `TargetError`, also for a file with pickled objects."""
    data = content(path)
    if not data.startswith(_NUMPY):
        raise reject(path, "is no .npy file", "give the published file")
    try:
        return np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64)
    except (ValueError, OSError, TypeError, EOFError, SyntaxError, MemoryError) as error:
        raise reject(path, f"is no plain array ({error})", _UNPICKLE) from error


def number(value: object, name: str) -> float:
    """A published value as a float, which may be NaN or negative; `collect` judges that.

    Args:
        value: A number, or the text of one.
        name: The name of the field, for messages.

    Raises:
        Unmappable: If the value is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unmappable(f"{name} = {shortened(value)} is not a number")
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        raise Unmappable(f"{name} = {shortened(value)} is not a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise Unmappable(f"{name} = {shortened(value)} is not a number") from None


def whole(value: object, name: str, *, least: int = 1) -> int:
    """A published value as a whole number.

    Args:
        value: A number, or the text of one.
        name: The name of the field, for messages.
        least: The smallest allowed number. The largest is a bound that no real shape exceeds.

    Raises:
        Unmappable: If the value is no such number.
    """
    found = number(value, name)
    if not (math.isfinite(found) and found == int(found) and least <= found <= MAX_LENGTH):
        raise Unmappable(f"{name} = {shortened(value)} is not a whole number from {least}")
    return int(found)


def one_of(value: object, name: str, allowed: Mapping[str, Any]) -> Any:
    """The entry of `allowed` for a published text; raises `Unmappable` for any other text."""
    if not isinstance(value, str) or value not in allowed:
        raise Unmappable(f"{name} = {shortened(value)} is not one of {', '.join(allowed)}")
    return allowed[value]
