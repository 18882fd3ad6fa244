"""The functions of a switching file: parts of its graph that are called often and written once."""

from __future__ import annotations

import onnx
from onnx.helper import make_function, make_node, make_opsetid

DOMAIN = "elastic_nas"
_FLOAT = onnx.TensorProto.FLOAT


def functions(opset: int) -> list[onnx.FunctionProto]:
    """All functions of a switching file; their input `place` is the place of the running mode."""
    return [_weight(opset), _bias(opset), _rounded(opset)]


def _weight(opset: int) -> onnx.FunctionProto:
    """A weight: `codes` rounded to the bits of the mode, times its scales.

    `powers` and `limits` hold, for every mode, 2 to minus the number of bits that it lacks, and its
    largest code. `ratios` is a table for all modes but the first, whose ratios are one.
    """
    nodes = [
        make_node("Gather", ["powers", "place"], ["power"]),
        make_node("Gather", ["limits", "place"], ["high"]),
        make_node("Neg", ["high"], ["low"]),
        make_node("Cast", ["codes"], ["integers"], to=_FLOAT),
        make_node("Mul", ["integers", "power"], ["shifted"]),
        make_node("Round", ["shifted"], ["rounded"]),
        make_node("Clip", ["rounded", "low", "high"], ["numbers"]),
        make_node("Constant", [], ["one"], value_float=1.0),
        *_row("ratios", "ratio", fill="one"),
        make_node("Mul", ["scale", "ratio"], ["step"]),
        make_node("Div", ["step", "power"], ["steps"]),
        make_node("Reshape", ["steps", "column"], ["shaped"]),
        make_node("Mul", ["numbers", "shaped"], ["weight"]),
    ]
    reads = ["codes", "scale", "ratios", "range", "powers", "limits", "column", "place"]
    return _function("Weight", reads, "weight", nodes, opset)


def _bias(opset: int) -> onnx.FunctionProto:
    """A bias: that of the first mode, plus the difference of the mode."""
    nodes = [
        *_row("differences", "difference"),
        make_node("Add", ["first", "difference"], ["bias"]),
    ]
    return _function("Bias", ["first", "differences", "range", "place"], "bias", nodes, opset)


def _rounded(opset: int) -> onnx.FunctionProto:
    """A tensor on the grid of the mode; `grids` holds scale, least and greatest number of each."""
    nodes = [
        make_node("Gather", ["grids", "place"], ["grid"]),
        make_node("Split", ["grid"], ["scale", "least", "greatest"], num_outputs=3),
        make_node("Squeeze", ["least"], ["low"]),
        make_node("Squeeze", ["greatest"], ["high"]),
        make_node("Div", ["x", "scale"], ["scaled"]),
        make_node("Round", ["scaled"], ["nearest"]),
        make_node("Clip", ["nearest", "low", "high"], ["numbers"]),
        make_node("Mul", ["numbers", "scale"], ["y"]),
    ]
    return _function("Rounded", ["x", "grids", "place"], "y", nodes, opset)


def _row(table: str, row: str, *, fill: str = "") -> list[onnx.NodeProto]:
    """The nodes that read the row of the mode from a table, whose `range` is its step and least.

    The row of the first mode holds the scalar `fill`, or zeros.
    """
    return [
        make_node("Split", ["range"], ["finest", "least"], num_outputs=2),
        make_node("Cast", [table], ["places"], to=_FLOAT),
        make_node("Mul", ["places", "finest"], ["above"]),
        make_node("Add", ["above", "least"], ["floats"]),
        make_node("Constant", [], ["pads"], value_ints=[1, 0, 0, 0]),
        make_node("Pad", ["floats", "pads", fill], ["rows"]),
        make_node("Gather", ["rows", "place"], [row]),
    ]


def _function(
    name: str, reads: list[str], gives: str, nodes: list[onnx.NodeProto], opset: int
) -> onnx.FunctionProto:
    return make_function(DOMAIN, name, reads, [gives], nodes, [make_opsetid("", opset)])
