"""Rows of tables with columns of former versions.

Tables had the columns `out`, `kernel` and `stride` until rows held all `fields` of an operator.
This module names the classes and functions that such rows can be about; there are no such rows of
later classes. Tables had the bits of integers until rows held the names of formats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from nas.targets.numerics import of_bits
from nas.targets.table.operator_reader import OperatorReader
from nas.targets.table.operator_text import written_fields
from search_spaces.ops import Activation, Conv2d, DepthwiseConv2d, Linear, Op, Shape

OLD_COLUMNS = ("out", "kernel", "stride")
BITS_COLUMNS = ("weight_bits", "activation_bits")
OLD_KEY_COLUMNS = ("operator", "inputs", *OLD_COLUMNS, "fused", *BITS_COLUMNS, "batch")
FUNCTIONS = ("hardsigmoid", "hardswish", "relu", "relu6")
_WINDOWED = (Conv2d, DepthwiseConv2d)
_NUMBER = r"([0-9]{1,9})"
_PART = re.compile(
    rf"([A-Za-z_]\w*)(?::{_NUMBER})?(?::k{_NUMBER}:s{_NUMBER})?((?:@(?:in|op)[0-9]{{1,4}})*)",
    re.ASCII,
)


def current(cells: Mapping[str, Any], reader: OperatorReader) -> dict[str, Any]:
    """The cells of an old row with `operator`, `fields`, `inputs` and `fused` in the current form.

    Old rows named an activation by its function, and a linear layer flattened an image itself.

    Raises:
        ValueError: If the columns never held such an operator, or contradict each other.
    """
    figures = {name: str(cells[name]) for name in OLD_COLUMNS}
    operator, fields = _operator(cells["operator"], figures, reader)
    op = reader.operator(operator, fields)
    shapes = [tuple(map(int, part.split("x"))) for part in cells["inputs"].split("+")]
    if "out" not in written_fields(type(op)):
        _require_out(op, shapes, cells["out"])
    if isinstance(op, Linear):
        shapes[0] = (math.prod(shapes[0]),)
    parts = cells["fused"].split("+") if cells["fused"] else ()
    return {
        **cells,
        "operator": operator,
        "fields": fields,
        "inputs": "+".join("x".join(map(str, shape)) for shape in shapes),
        "fused": "+".join(_behind(part, reader) for part in parts),
    }


def named(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row with bits, which has the names of formats in their place."""
    weight, activation = (cells[name] for name in BITS_COLUMNS)
    others = {name: cell for name, cell in cells.items() if name not in BITS_COLUMNS}
    numerics = of_bits(weight or None, activation)
    return {**others, "weight": numerics.stored, "activation": numerics.activation}


def _operator(name: str, figures: Mapping[str, str], reader: OperatorReader) -> tuple[str, str]:
    """The class and the fields of the first operator of a kernel, from an old row."""
    if name in FUNCTIONS:
        return Activation.__name__, f"function={name}"
    kind = reader.kind(name)
    known = written_fields(kind)
    unheld = [n for n in ("kernel", "stride") if n in known and not issubclass(kind, _WINDOWED)]
    stray = [n for n in ("kernel", "stride") if n not in known and figures[n] != "1"]
    if unheld or stray:
        wrong = (unheld or stray)[0]
        raise ValueError(
            f"{wrong} = {figures[wrong]!r}: this column never held the {wrong} of {name}; measure "
            "the kernel anew, or delete the line"
        )
    return name, ",".join(f"{n}={text}" for n, text in figures.items() if n in known)


def _behind(part: str, reader: OperatorReader) -> str:
    """The current text of an operator behind the first: `relu`, `Conv2d:24:k1:s1` or `Add@in1`."""
    matched = _PART.fullmatch(part)
    if matched is None:
        raise ValueError(
            f"{part!r} of fused must be an operator such as 'relu', 'Conv2d:24:k1:s1' or "
            "'Add@in1' where a table has the columns out, kernel and stride"
        )
    name, *figures, wires = matched.groups()
    if name in FUNCTIONS and not any(figures):
        return f"{Activation.__name__}(function={name}){wires}"
    given = zip(OLD_COLUMNS, figures, strict=True)
    fields = ",".join(f"{field}={text}" for field, text in given if text is not None)
    return f"{reader.kind(name).__name__}({fields}){wires}"


def _require_out(op: Op, shapes: list[Shape], out: int) -> None:
    """Raise `ValueError` if the operator does not give `out` channels."""
    try:
        given = op.infer(*shapes[: op.arity])[0]
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"{type(op).__name__} cannot read these inputs: {error}") from error
    if out != given:
        raise ValueError(
            f"out = {out!r}: {type(op).__name__} gives {given} of these inputs; correct the line "
            "or delete it"
        )
