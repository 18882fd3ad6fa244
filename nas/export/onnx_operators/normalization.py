"""Normalizations."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from nas.export.onnx_operators.site import Site, write
from nas.export.writer import Value
from search_spaces.ops import Affine, GroupNorm, LayerNorm, RMSNorm, Standardize
from supernets.deployed import values


@write.register
def _(op: LayerNorm, site: Site) -> Value:
    operands = site.read(), site.floats("scale"), site.floats("shift")
    return site.node("LayerNormalization", *operands, axis=-1, epsilon=op.epsilon)


@write.register
def _(op: RMSNorm, site: Site) -> Value:
    # Opset 23 has an operator; onnxruntime fuses these nodes, which opset 21 has, to one kernel,
    # unless two of them read a DequantizeLinear.
    writer, read = site.writer, site.read()
    read = writer.unchanged(read) if site.on_grid else read
    squares = site.node("Pow", read, writer.float32(2.0))
    mean = writer.node("ReduceMean", squares.name, writer.int64(-1))
    root = writer.node("Sqrt", writer.node("Add", mean, writer.float32(op.epsilon)))
    return Value(writer.node("Mul", writer.node("Div", read, root), site.floats("scale")))


@write.register
def _(op: GroupNorm, site: Site) -> Value:
    operands = site.read(), site.floats("scale"), site.floats("shift")
    attributes = {"num_groups": op.groups, "epsilon": op.epsilon}
    return site.node("GroupNormalization", *operands, **attributes)


@write.register
def _(op: Standardize, site: Site) -> Value:
    centred = site.node("Sub", site.read(), site.floats("mean")).name
    return Value(site.writer.node("Div", centred, site.floats("deviation")))


@write.register
def _(op: Affine, site: Site) -> Value:
    axes = len(site.shapes[0])
    column = (-1, *(1,) * (axes - 1 - op.channel_axis % axes))
    scale, shift = (
        site.writer.floats(values(site.parameters[name]).reshape(column))
        for name in ("scale", "shift")
    )
    product = site.node("Mul", site.read(), scale)
    return Value(site.writer.node("Add", product.name, shift))
