"""Operators that act on each number: nonlinearities, additions, products."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from collections.abc import Mapping

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import Activation, Add, LeakyReLU, Multiply, Op

_FUNCTIONS: Mapping[str, str] = {
    "relu": "Relu",
    "hardswish": "HardSwish",
    "gelu": "Gelu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}


def is_clamp(op: Op) -> bool:
    """Whether `op` only clamps its input, so that the next reader can clamp the codes instead."""
    return op.clamp is not None and op.activation is None


@write.register
def _(op: Activation, site: Site) -> Value:
    if is_clamp(op):
        clamped = site.writer.clamped(site.inputs[0], op.clamp)
        return clamped if site.one_grid else Value(site.writer.plain(clamped))
    read = site.read()
    match op.function:
        case "relu6":
            low, high = (site.writer.float32(end) for end in op.clamp or ())
            return site.node("Clip", read, low, high)
        case "silu":
            return site.node("Mul", read, site.writer.node("Sigmoid", read))
        case "hardsigmoid":
            return site.node("HardSigmoid", read, alpha=1 / 6, beta=0.5)
        case _:
            return site.node(_FUNCTIONS[op.function], read)


@write.register
def _(op: LeakyReLU, site: Site) -> Value:
    return site.node("LeakyRelu", site.read(), alpha=op.negative_slope)


@write.register
def _(op: Add, site: Site) -> Value:
    return site.node("Add", site.read(0), site.read(1))


@write.register
def _(op: Multiply, site: Site) -> Value:
    return site.node("Mul", site.read(0), site.read(1))
