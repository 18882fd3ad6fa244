"""What each operator becomes in an ONNX file: one case of `write` per operator."""

# ruff: noqa: ARG001  # a case may need no more of its operator than the type

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np

from nas.export.containers import ExportError
from nas.export.writer import Value, Writer
from search_spaces.ops import (
    Activation,
    Add,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Image,
    Input,
    Linear,
    Multiply,
    Op,
    Shape,
)
from supernets.deployed import Stored, values
from supernets.integers import ActivationScale, IntegerBias, IntegerTensor

_LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Site:
    """Where a node is written: what it reads, its parameters, and who reads it.

    `shapes` are those of `inputs`, without the batch; a source has what it is fed as its one input.
    `scales` holds one entry per input, None where it is read in floats. `one_grid` says that
    everything which reads the node puts it on one and the same grid; `rounded` that this holds
    once a clamp behind it is done, so that a convolution never leaves the integers.
    """

    writer: Writer
    address: str
    inputs: tuple[Value, ...]
    shapes: tuple[Shape, ...]
    scales: tuple[ActivationScale | None, ...]
    parameters: Mapping[str, Stored] = field(default_factory=dict)
    one_grid: bool = False
    rounded: bool = True

    def read(self, slot: int = 0, *, flat: bool = False) -> str:
        """The input at `slot` as its precision has it; `flat` flattens it behind the batch."""
        scale, value = self.scales[slot], self.inputs[slot]
        if scale is not None:
            return self.writer.quantized(value, scale, flat=flat)
        plain = self.writer.plain(value)
        return self.writer.node("Flatten", plain) if flat else plain

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> Value:
        """A node that carries this address as its name."""
        return Value(self.writer.node(op_type, *inputs, name=self.address, **attributes))


@singledispatch
def write(op: Op, site: Site) -> Value:
    """Append what `op` computes to the file and return the tensor it gives."""
    raise ExportError(
        f"{type(op).__name__} at {site.address!r} has no case of nas.export.onnx_operators.write; "
        "register one"
    )


@write.register
def _(op: Image, site: Site) -> Value:
    size = (op.size, op.size)
    if site.shapes[0][1:] == size:
        return site.inputs[0]
    # Half-pixel bilinear: torch's interpolate with align_corners=False.
    given, target = site.writer.plain(site.inputs[0]), site.writer.int64(*size)
    return Value(site.writer.node("Resize", given, "", "", target, axes=[2, 3], mode="linear"))


@write.register
def _(op: Input, site: Site) -> Value:
    if site.shapes[0] != op.shape:
        raise ExportError(
            f"Input {site.address!r} reads samples of shape {op.shape}, and would be fed "
            f"{site.shapes[0]}; calibrate the network on what it will be fed"
        )
    return site.inputs[0]


@write.register
def _(op: Conv2d, site: Site) -> Value:
    return weighted(site, "Conv", site.read(), **_window(op))


@write.register
def _(op: DepthwiseConv2d, site: Site) -> Value:
    return weighted(site, "Conv", site.read(), group=site.shapes[0][0], **_window(op))


@write.register
def _(op: Linear, site: Site) -> Value:
    return weighted(site, "Gemm", site.read(flat=len(site.shapes[0]) > 1), transB=1)


def _window(op: Conv2d | DepthwiseConv2d) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if op.kernel > 1:
        attributes["pads"] = [op.kernel // 2] * 4
    if op.stride > 1:
        attributes["strides"] = [op.stride] * 2
    return attributes


def weighted(site: Site, op_type: str, x: str, **attributes: Any) -> Value:
    """A node with a weight and a bias; an integer kernel where both its operands are quantized."""
    writer, scale = site.writer, site.scales[0]
    held, bias = (site.parameters.get(name) for name in ("weight", "bias"))
    if held is None or bias is None or isinstance(held, IntegerBias):
        raise ExportError(f"node {site.address!r} has no weight and bias; deploy the network again")
    if not isinstance(held, IntegerTensor):
        if scale is not None:
            # Between a DequantizeLinear and a QuantizeLinear onnxruntime rounds float weights to
            # 8 bits at load (1.31); this Max changes no number and keeps them as they are.
            x = writer.node("Max", x, writer.float32(_LOWEST))
        return site.node(op_type, x, writer.floats(held), writer.floats(values(bias)), **attributes)
    on_integers = scale is not None and (site.rounded or op_type == "Gemm")
    # A convolution in groups is depthwise.
    in_pairs = "group" not in attributes
    weight = writer.weight(held, site.address, integer_kernel=on_integers, in_pairs=in_pairs)
    if on_integers and isinstance(bias, IntegerBias):
        added = writer.integer_bias(bias, held)
    else:
        added = writer.floats(values(bias))
    return site.node(op_type, x, weight, added, **attributes)


def is_clamp(op: Op) -> bool:
    """Whether `op` only cuts its input, which the next reader can do on integer codes."""
    return op.clamp is not None and op.activation is None


@write.register
def _(op: Activation, site: Site) -> Value:
    if is_clamp(op):
        clamped = Value(site.writer.plain(site.inputs[0]), op.clamp)
        return clamped if site.one_grid else Value(site.writer.plain(clamped))
    match op.function:
        case "relu":
            return site.node("Relu", site.read())
        case "relu6":
            low, high = (site.writer.float32(end) for end in op.clamp or ())
            return site.node("Clip", site.read(), low, high)
        case "hardswish":
            return site.node("HardSwish", site.read())
        case "hardsigmoid":
            return site.node("HardSigmoid", site.read(), alpha=1 / 6, beta=0.5)


@write.register
def _(op: Add, site: Site) -> Value:
    return site.node("Add", site.read(0), site.read(1))


@write.register
def _(op: Multiply, site: Site) -> Value:
    return site.node("Mul", site.read(0), site.read(1))


@write.register
def _(op: GlobalPool, site: Site) -> Value:
    return site.node("GlobalAveragePool", site.read())
