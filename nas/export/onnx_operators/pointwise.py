"""Operators that act on each number: nonlinearities, additions, products."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from collections.abc import Mapping

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import Activation, Add, Clamp, LeakyReLU, Multiply, Op, Scale

_FUNCTIONS: Mapping[str, str] = {
    "relu": "Relu",
    "hardswish": "HardSwish",
    "gelu": "Gelu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "elu": "Elu",
    "selu": "Selu",
    "softplus": "Softplus",
    "mish": "Mish",
}


def is_clamp(op: Op) -> bool:
    """Whether `op` only clamps its input, so that the next reader can clamp the codes instead."""
    return op.clamp is not None and op.activation is None


def _clamped(op: Op, site: Site) -> Value:
    """The input with a clamp that is left to the reader, or is a node where readers differ."""
    clamped = site.writer.clamped(site.inputs[0], op.clamp)
    return clamped if site.one_grid else Value(site.writer.plain(clamped))


@write.register
def _(op: Activation, site: Site) -> Value:
    if is_clamp(op):
        return _clamped(op, site)
    read = site.read()
    match op.function:
        case "relu6":
            return _clip(op, site)
        case "silu":
            return site.node("Mul", read, site.writer.node("Sigmoid", read))
        case "gelu_tanh":
            return site.node("Gelu", read, approximate="tanh")
        case "hardsigmoid":
            return site.node("HardSigmoid", read, alpha=1 / 6, beta=0.5)
        case _:
            return site.node(_FUNCTIONS[op.function], read)


def _clip(op: Op, site: Site) -> Value:
    return site.node("Clip", site.read(), *map(site.writer.float32, op.clamp or ()))


@write.register
def _(op: Clamp, site: Site) -> Value:
    return _clamped(op, site) if is_clamp(op) else _clip(op, site)


@write.register
def _(op: LeakyReLU, site: Site) -> Value:
    return site.node("LeakyRelu", site.read(), alpha=op.negative_slope)


@write.register
def _(op: Add, site: Site) -> Value:
    return site.node("Add", *site.operands())


@write.register
def _(op: Multiply, site: Site) -> Value:
    return site.node("Mul", *site.operands())


@write.register
def _(op: Scale, site: Site) -> Value:
    writer, read = site.writer, site.read()
    if op.factor == 1:
        return site.node("Add", read, writer.float32(op.shift))
    product = site.node("Mul", read, writer.float32(op.factor))
    if op.shift == 0:
        return product
    return Value(writer.node("Add", product.name, writer.float32(op.shift)))
