"""Ways to damage the structure of a file: values, keys, headers, members, columns, nodes.

In a damaged JSON or TOML file, a value is replaced by one of another type, an unexpected number or
text, 3,000 nested lists, or 5,000 digits.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pyarrow
import tomli_w
from PIL import Image
from pyarrow import parquet

from benchmarks.mutation_ways import (
    BYTES,
    DIGITS,
    NUMBERS,
    TEXT,
    WORDS,
    NoPlace,
    Rng,
    Way,
    lines,
    pick,
)

DEEP = 3000
# Placeholders for texts that JSON or TOML may hold but that their writers refuse to write.
_DEEP_MARK, _DIGITS_MARK, _TWICE_MARK = "@@deep@@", "@@digits@@", "@@twice@@"
VALUES: tuple[Any, ...] = (
    *(True, False, 0, -1, 1, 1.5, 10**30, -(2**63), 2**31, float("nan"), float("inf"), 1e308),
    *("", "8", "NaN", "\x00", "\x1b[2J", "\u202e", "[/x]", "../x", "x" * 10_000, None),
    *([], {}, [[]], [None], {"a": 1}, [1, "1"], _DEEP_MARK, _DIGITS_MARK),
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All pairs of a container within `value` and one of its keys or positions."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def edited(value: Any, rng: Rng, values: tuple[Any, ...] = VALUES) -> Any:
    """The structure with one value, key or entry changed."""
    whole = copy.deepcopy(value)
    holder, key = pick(_places(whole), rng)
    edit = int(rng.integers(6))
    if edit == 0:
        del holder[key]
    elif edit == 1 and isinstance(holder, dict):
        holder[pick(["", "x", "$spec", f"{key}2", f"{_TWICE_MARK}{key}"], rng)] = holder[key]
    elif edit == 2:
        other, place = pick(_places(whole), rng)
        holder[key] = copy.deepcopy(other[place])
    elif edit == 3 and isinstance(holder[key], int | float | str):
        held = holder[key]
        near = (f"{held}", [held], {"a": held}, f"{held}\x00")
        holder[key] = pick(near if isinstance(held, str) else (*near, held + 1, -held), rng)
    elif edit == 4 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(pick([holder[key], *values], rng)))
    else:
        holder[key] = copy.deepcopy(pick(values, rng))
    return whole


def _unmarked(text: str) -> bytes:
    text = text.replace(f'"{_DEEP_MARK}"', "[" * DEEP + "]" * DEEP).replace(_TWICE_MARK, "")
    return text.replace(f'"{_DIGITS_MARK}"', "9" * DIGITS).encode()


def _read_json(content: bytes) -> Any:
    held = json.loads(content)
    if not isinstance(held, dict | list):
        raise NoPlace
    return held


def _json(content: bytes, rng: Rng) -> bytes:
    return _unmarked(json.dumps(edited(_read_json(content), rng), indent=1))


def _json_line(content: bytes, rng: Rng) -> bytes:
    records = lines(content)
    at = int(rng.integers(len(records)))
    made = json.dumps(edited(_read_json(records[at]), rng), separators=(",", ":"))
    return b"".join([*records[:at], _unmarked(made) + b"\n", *records[at + 1 :]])


def _toml(content: bytes, rng: Rng) -> bytes:
    values = tuple(value for value in VALUES if value not in (None, [None]))
    return _unmarked(tomli_w.dumps(edited(tomllib.loads(content.decode()), rng, values)))


def _cell(content: bytes, rng: Rng) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode())))
    row = pick([row for row in rows if row and not row[0].startswith("#")], rng)
    row[int(rng.integers(len(row)))] = pick([*NUMBERS, *WORDS, *row], rng)
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue().encode()


def _column(content: bytes, rng: Rng) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode())))
    wide = [row for row in rows if row and not row[0].startswith("#")]
    at, repeated = int(rng.integers(len(wide[0]))), bool(rng.integers(2))
    for row in wide:
        row[at : at + 1] = [row[at]] * 2 if repeated else []
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue().encode()


def _safetensors(content: bytes, rng: Rng) -> bytes:
    """A safetensors file with an edited header of corrected length; its tensors are unchanged."""
    size = int.from_bytes(content[:8], "little")
    header = _unmarked(json.dumps(edited(json.loads(content[8 : 8 + size]), rng)))
    header = header.ljust(-(-len(header) // 8) * 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def _npy(content: bytes, rng: Rng) -> bytes:
    """An `.npy` file with an edited header of the same length."""
    end = content.index(b"\n", 10)
    swaps = (
        *((b"<f4", b"<f8"), (b"<f4", b">f4"), (b"<f4", b"|O8"), (b"<f4", b"<c8"), (b"<i8", b"<M8")),
        *((b"<i8", b"<U2"), (b"False", b"True "), (b", 8, 8", b", 9, 8"), (b"(80", b"(99")),
        *((b"(80", b"(-1"), (b"(80", b"(8e"), (b"'shape'", b"'shapf'"), (b"(80", b"(9999999999")),
    )
    old, new = pick([(a, b) for a, b in swaps if a in content[:end]], rng)
    return content[:10] + content[10:end].replace(old, new, 1) + content[end:]


def _npz(content: bytes, rng: Rng) -> bytes:
    """An `.npz` file with one member damaged, renamed, doubled or dropped; checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = [(name, file.read(name)) for name in file.namelist()]
    at = int(rng.integers(len(members)))
    name, held = members[at]
    members[at : at + 1] = pick(
        (
            [],
            [(name, _npy(held, rng))],
            [(name, pick(BYTES, rng).change(held, rng))],
            [(pick(("x_trian.npy", "../x.npy", "x_train", "y_test.npy"), rng), held)],
            [(name, held), ("extra.npy", held)],
        ),
        rng,
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        for member, body in members:
            file.writestr(member, body)
    return written.getvalue()


def _parquet(content: bytes, rng: Rng) -> bytes:
    """A Parquet file, written by pyarrow, with an edited cell, column name or note."""
    table = parquet.read_table(io.BytesIO(content))
    at, name = (found := int(rng.integers(table.num_columns))), table.column_names[found]
    held, notes = table.column(at).to_pylist(), dict(table.schema.metadata or {})
    edit = int(rng.integers(5))
    if edit == 0:
        table = table.drop_columns([name])
    elif edit == 1:
        table = table.rename_columns(
            [pick(WORDS, rng) if n == name else n for n in table.column_names]
        )
    elif edit == 2 and notes:
        notes[pick(notes, rng)] = pick((b"\xff", b"", b"\x1b[2J", b"a: b\n# c"), rng)
        table = table.replace_schema_metadata(notes)
    elif edit == 3:
        table = table.append_column(name, table.column(at))
    else:
        held[int(rng.integers(len(held)))] = pick([*NUMBERS[:6], *WORDS, None], rng)
        texts = [None if cell is None else str(cell) for cell in held]
        table = table.set_column(at, name, pyarrow.array(texts))
    written = io.BytesIO()
    parquet.write_table(table, written)
    return written.getvalue()


def _image(_content: bytes, rng: Rng) -> bytes:
    """An image file with another image, of another size, mode or format."""
    size = pick([(1, 1), (8, 9), (8, 8), (3000, 1)], rng)
    image = Image.new(pick(["1", "L", "RGBA", "P", "I;16", "CMYK", "RGB"], rng), size)
    kind = "TIFF" if image.mode == "CMYK" else pick(["PNG", "TIFF"], rng)
    written = io.BytesIO()
    image.save(written, kind)
    return written.getvalue()


def _onnx(content: bytes, rng: Rng) -> bytes:
    """An ONNX file with an edited node, tensor, shape or text of the metadata."""
    model = onnx.ModelProto.FromString(content)
    graph, edit = model.graph, int(rng.integers(8))
    node, tensor = pick(graph.node, rng), pick(graph.initializer, rng)
    if edit == 0:
        graph.node.remove(node)
    elif edit == 1:
        node.op_type = pick(["Relu", "Loop", "Nothing", "", "Softmax", "\u202e"], rng)
    elif edit == 2 and node.input:
        node.input[0] = pick([node.output[0], "", "nothing", tensor.name], rng)
    elif edit == 3:
        tensor.dims[:] = pick([[10**12], [-1], [], [0], [*tensor.dims, 2]], rng)
    elif edit == 4:
        tensor.data_type = int(rng.integers(24))
    elif edit == 5:
        graph.initializer.remove(tensor)
    elif edit == 6:
        entry = pick(model.metadata_props, rng)
        entry.value = pick([*WORDS[:8], "{", "null", "[" * DEEP, "9" * DIGITS, '{"a": 1}'], rng)
    else:
        tensor.external_data.add(key="location", value="/etc/hostname")
        tensor.data_location = onnx.TensorProto.EXTERNAL
    return model.SerializeToString()


STRUCTURE: dict[str, tuple[Way, ...]] = {
    ".json": (Way("structure", _json),),
    ".journal": (Way("structure", _json_line),),
    ".toml": (Way("structure", _toml),),
    ".csv": (Way("cell", _cell), Way("column", _column)),
    ".safetensors": (Way("header", _safetensors),),
    ".npy": (Way("header", _npy),),
    ".npz": (Way("member", _npz, resealed=True),),
    ".parquet": (Way("table", _parquet, resealed=True),),
    ".png": (Way("image", _image, resealed=True),),
    ".jpg": (Way("image", _image, resealed=True),),
    ".onnx": (Way("model", _onnx),),
}


def damaged(content: bytes, path: Path, rng: Rng) -> tuple[Way, bytes]:
    """A random way of damage that fits the kind of the file, and the bytes after it."""
    ways = [*BYTES, *STRUCTURE.get(path.suffix, ()) * 6]
    if path.suffix in (".json", ".journal", ".toml", ".csv", ".yaml"):
        ways += TEXT
    while True:
        way = pick(ways, rng)
        try:
            made = way.change(content, rng)
        except NoPlace:
            continue
        if made != content:
            return way, made
