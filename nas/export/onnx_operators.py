"""The ONNX nodes of each operator: a case of `write` per operator."""

# ruff: noqa: ARG001  # a case may need only the type of its operator

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.export.containers import ExportError, container_for
from nas.export.stored_weights import (
    folded_weight,
    integer_bias,
    integer_weight,
    unpacked_weight,
)
from nas.export.writer import Value, Writer
from nas.saturation import adds_pairs
from search_spaces.ops import (
    Activation,
    Add,
    AvgPool2d,
    Concat,
    Convolution,
    Flatten,
    GlobalPool,
    GroupNorm,
    Image,
    Input,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Multiply,
    Op,
    Permute,
    Reshape,
    Shape,
    Window,
)
from supernets.deployed import Stored, values
from supernets.integers import ActivationScale, IntegerBias, IntegerTensor

_FUNCTIONS: Mapping[str, str] = {
    "relu": "Relu",
    "hardswish": "HardSwish",
    "gelu": "Gelu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}


@dataclass(frozen=True)
class Site:
    """The surroundings of a node that is being written: its inputs, parameters and readers.

    Attributes:
        writer: The writer of the file.
        address: The address of the node.
        inputs: The tensors that the node reads. A source reads the tensor that it is fed.
        shapes: The shapes of the inputs, without the batch.
        scales: The quantization of each input; None for an input in floats.
        parameters: The parameters of the node by name.
        one_grid: Whether all readers quantize the result with the same scale. If so, a clamp needs
            no node of its own, because the quantization can clamp the codes. Example: a ReLU whose
            only reader is a convolution with a quantized input.
        rounded: Whether all readers quantize the result with the same scale, directly or behind a
            clamp. If so, a convolution with quantized input and weight is written as an integer
            kernel, whose result is integer codes. If not, some reader needs floats, and the
            convolution is written with its weight in floats.
    """

    writer: Writer
    address: str
    inputs: tuple[Value, ...]
    shapes: tuple[Shape, ...]
    scales: tuple[ActivationScale | None, ...]
    parameters: Mapping[str, Stored] = field(default_factory=dict)
    one_grid: bool = False
    rounded: bool = True

    def read(self, slot: int = 0) -> str:
        """The input at `slot`, quantized if its precision says so."""
        scale, value = self.scales[slot], self.inputs[slot]
        if scale is not None:
            return self.writer.quantized(value, scale)
        return self.writer.plain(value)

    @property
    def on_grid(self) -> bool:
        """Whether the numbers of the first input come from a DequantizeLinear node."""
        return self.scales[0] is not None or self.inputs[0].on_grid

    def floats(self, name: str) -> str:
        """A parameter as a float32 initializer."""
        return self.writer.floats(values(self.parameters[name]))

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> Value:
        """Write an ONNX node whose name is the address; returns its output."""
        return Value(self.writer.node(op_type, *inputs, name=self.address, **attributes))


@singledispatch
def write(op: Op, site: Site) -> Value:
    """Append the nodes of `op` to the file; returns the result.

    Raises:
        ExportError: If the operator has no case.
    """
    raise ExportError(
        f"{type(op).__name__} at {site.address!r} has no case of nas.export.onnx_operators.write; "
        "register one"
    )


def is_writable(op: Op) -> bool:
    """Whether `write` has a case for an operator."""
    return write.dispatch(type(op)) is not write.dispatch(object)


@write.register
def _(op: Image, site: Site) -> Value:
    size = (op.size, op.size)
    if site.shapes[0][1:] == size:
        return site.inputs[0]
    # Half-pixel bilinear, the same as torch's interpolate with align_corners=False.
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
def _(op: Convolution, site: Site) -> Value:
    window, groups = op.window, op.groups_of(site.shapes[0][0])
    attributes = _moving(window)
    if window.dilation != (1, 1):
        attributes["dilations"] = window.dilation
    if groups > 1:
        attributes["group"] = groups
    return weighted(site, "Conv", site.read(), **attributes)


@write.register
def _(op: Linear, site: Site) -> Value:
    # Gemm adds the bias itself, but reads vectors only and unpacks few-bit weights in every run.
    if len(site.shapes[0]) > 1 or _meets_floats(site):
        return multiplied(site, site.read())
    return weighted(site, "Gemm", site.read(), transB=1)


def _moving(window: Window) -> dict[str, Any]:
    """The ONNX attributes of padding and stride, without those that equal ONNX's defaults."""
    attributes: dict[str, Any] = {}
    if any(window.padding):
        attributes["pads"] = window.padding
    if window.stride != (1, 1):
        attributes["strides"] = window.stride
    return attributes


def weighted(site: Site, op_type: str, x: str, **attributes: Any) -> Value:
    """Write a node with a weight and a bias.

    The node is an integer kernel if input and weight are quantized and the result is `rounded`.
    """
    writer, scale, (held, bias) = site.writer, site.scales[0], _weight_and_bias(site)
    if not isinstance(held, IntegerTensor):
        x = _kept_apart(site, x)
        weight, added = writer.floats(held), writer.floats(values(bias))
        return site.node(op_type, x, weight, added, **attributes)
    if scale is None or not (site.rounded or op_type == "Gemm"):
        x = _kept_apart(site, x) if scale is None else x
        weight = folded_weight(writer, held, site.address)
        return site.node(op_type, x, weight, writer.floats(values(bias)), **attributes)
    in_pairs = adds_pairs(held.codes.shape[1], groups=attributes.get("group", 1))
    weight = integer_weight(writer, held, site.address, in_pairs=in_pairs)
    exact = isinstance(bias, IntegerBias)
    added = integer_bias(writer, bias, held) if exact else writer.floats(values(bias))
    return site.node(op_type, x, weight, added, **attributes)


def multiplied(site: Site, x: str) -> Value:
    """Write a product of the last axis of `x` with a matrix, named by the address, plus a bias.

    onnxruntime (1.32) fuses a product of floats with few-bit weights to its MatMulNBits, unless a
    Clip or a QuantizeLinear follows.
    """
    writer, (held, bias), kept = site.writer, _weight_and_bias(site), False
    if isinstance(held, IntegerTensor) and site.scales[0] is not None:
        weight = integer_weight(writer, held, site.address, in_pairs=True, axis=1)
    else:
        x = _kept_apart(site, x)
        weight, kept = _matrix_for_floats(site, held)
    product = site.node("MatMul", x, weight)
    sums = writer.node("Add", product.name, writer.floats(values(bias)))
    return Value(sums, kept=kept)


def _matrix_for_floats(site: Site, held: IntegerTensor | NDArray[np.float32]) -> tuple[str, bool]:
    """The matrix `(in, out)` of a product in floats, and whether the kernel unpacks its codes."""
    if not isinstance(held, IntegerTensor):
        return site.writer.floats(held.T), False
    if is_sound(container_for(held.quant).bits, outputs=len(held.codes)):
        return unpacked_weight(site.writer, held, site.address, axis=1), True
    return folded_weight(site.writer, held, site.address, axis=1), False


def is_sound(bits: int, *, outputs: int) -> bool:
    """Whether onnxruntime computes products of floats with few-bit weights correctly.

    Releases 1.31 and 1.32 give wrong numbers for 2 bits unless `outputs` is a multiple of 4.
    """
    return bits > 2 or outputs % 4 == 0


def _meets_floats(site: Site) -> bool:
    """Whether the weight is quantized and the input is in floats."""
    return isinstance(site.parameters.get("weight"), IntegerTensor) and site.scales[0] is None


def _weight_and_bias(site: Site) -> tuple[IntegerTensor | NDArray[np.float32], Stored]:
    held, bias = (site.parameters.get(name) for name in ("weight", "bias"))
    if held is None or bias is None or isinstance(held, IntegerBias):
        raise ExportError(f"node {site.address!r} has no weight and bias; deploy the network again")
    return held, bias


def _kept_apart(site: Site, x: str) -> str:
    """`x` for a kernel in floats, behind a node that changes no number if `x` is dequantized.

    Between a DequantizeLinear and a QuantizeLinear, onnxruntime (1.31) rounds float weights to 8
    bits at load, even if operators that only move numbers lie between. The extra node prevents
    this.
    """
    return site.writer.unchanged(x) if site.on_grid else x


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
def _(op: LayerNorm, site: Site) -> Value:
    operands = site.read(), site.floats("scale"), site.floats("shift")
    return site.node("LayerNormalization", *operands, axis=-1, epsilon=op.epsilon)


@write.register
def _(op: GroupNorm, site: Site) -> Value:
    operands = site.read(), site.floats("scale"), site.floats("shift")
    attributes = {"num_groups": op.groups, "epsilon": op.epsilon}
    return site.node("GroupNormalization", *operands, **attributes)


@write.register
def _(op: Add, site: Site) -> Value:
    return site.node("Add", site.read(0), site.read(1))


@write.register
def _(op: Multiply, site: Site) -> Value:
    return site.node("Mul", site.read(0), site.read(1))


@write.register
def _(op: GlobalPool, site: Site) -> Value:
    return site.node("GlobalAveragePool", site.read())


@write.register
def _(op: MaxPool2d, site: Site) -> Value:
    window = op.window
    made = site.node("MaxPool", site.read(), kernel_shape=window.kernel, **_moving(window))
    return replace(made, on_grid=site.on_grid)


@write.register
def _(op: AvgPool2d, site: Site) -> Value:
    window = op.window
    counted = {"kernel_shape": window.kernel, "count_include_pad": 1}
    return site.node("AveragePool", site.read(), **counted, **_moving(window))


@write.register
def _(op: Concat, site: Site) -> Value:
    return site.node("Concat", *map(site.read, range(op.arity)), axis=1)


@write.register
def _(op: Flatten, site: Site) -> Value:
    return _viewed(site, (*(0,) * (1 + op.start), -1))


@write.register
def _(op: Reshape, site: Site) -> Value:
    return _viewed(site, (0, *op.shape))


def _viewed(site: Site, shape: tuple[int, ...]) -> Value:
    """The input of the node, with a reshape and any clamp that are left to the reader."""
    read = site.inputs[0]
    if read.shape is not None:
        read = Value(site.writer.plain(read), on_grid=read.on_grid)
    return replace(read, shape=shape)


@write.register
def _(op: Permute, site: Site) -> Value:
    made = site.node("Transpose", site.read(), perm=(0, *(axis + 1 for axis in op.order)))
    return replace(made, on_grid=site.on_grid)
