"""What each operator becomes in an ONNX file: one case of `write` per operator."""

# ruff: noqa: ARG001  # a case may need no more of its operator than the type

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

    def read(self, slot: int = 0) -> str:
        """The input at `slot` as its precision has it."""
        scale, value = self.scales[slot], self.inputs[slot]
        if scale is not None:
            return self.writer.quantized(value, scale)
        return self.writer.plain(value)

    @property
    def on_grid(self) -> bool:
        """Whether what the first input reads are the numbers of a DequantizeLinear."""
        return self.scales[0] is not None or self.inputs[0].on_grid

    def floats(self, name: str) -> str:
        """A parameter as an initializer of floats."""
        return self.writer.floats(values(self.parameters[name]))

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


def is_writable(op: Op) -> bool:
    """Whether there is a case of `write` for an operator."""
    return write.dispatch(type(op)) is not write.dispatch(object)


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
    # A Gemm takes its bias along. It reads vectors only, and unpacks few-bit weights in every run.
    if len(site.shapes[0]) > 1 or _meets_floats(site):
        return multiplied(site, site.read())
    return weighted(site, "Gemm", site.read(), transB=1)


def _moving(window: Window) -> dict[str, Any]:
    """How a window moves; what ONNX takes where nothing is said is left out."""
    attributes: dict[str, Any] = {}
    if any(window.padding):
        attributes["pads"] = window.padding
    if window.stride != (1, 1):
        attributes["strides"] = window.stride
    return attributes


def weighted(site: Site, op_type: str, x: str, **attributes: Any) -> Value:
    """A node with a weight and a bias; an integer kernel where both its operands are quantized."""
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
    """The last axis of `x` times a matrix, and a bias; the product bears the address.

    onnxruntime (1.32) fuses the product of floats with few-bit weights to its MatMulNBits, unless a
    Clip or a QuantizeLinear is next.
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
    """A matrix that meets floats, as `(in, out)`, and whether the product unpacks it as it goes."""
    if not isinstance(held, IntegerTensor):
        return site.writer.floats(held.T), False
    if is_sound(container_for(held.quant).bits, outputs=len(held.codes)):
        return unpacked_weight(site.writer, held, site.address, axis=1), True
    return folded_weight(site.writer, held, site.address, axis=1), False


def is_sound(bits: int, *, outputs: int) -> bool:
    """Whether onnxruntime computes right where few-bit weights meet floats.

    Releases 1.31 and 1.32 give wrong numbers for 2 bits unless `outputs` is a multiple of 4.
    """
    return bits > 2 or outputs % 4 == 0


def _meets_floats(site: Site) -> bool:
    """Whether a weight of integers meets what is read in floats."""
    return isinstance(site.parameters.get("weight"), IntegerTensor) and site.scales[0] is None


def _weight_and_bias(site: Site) -> tuple[IntegerTensor | NDArray[np.float32], Stored]:
    held, bias = (site.parameters.get(name) for name in ("weight", "bias"))
    if held is None or bias is None or isinstance(held, IntegerBias):
        raise ExportError(f"node {site.address!r} has no weight and bias; deploy the network again")
    return held, bias


def _kept_apart(site: Site, x: str) -> str:
    """`x` for a kernel that computes in floats.

    Between a DequantizeLinear and a QuantizeLinear onnxruntime rounds float weights to 8 bits at
    load (1.31), also where what it read was moved about since; a node that changes no number keeps
    them as they are.
    """
    return site.writer.unchanged(x) if site.on_grid else x


def is_clamp(op: Op) -> bool:
    """Whether `op` only cuts its input, which the next reader can do on integer codes."""
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
    """What the node reads, to be shaped by who reads it; its clamp stays to be done too."""
    read = site.inputs[0]
    if read.shape is not None:
        read = Value(site.writer.plain(read), on_grid=read.on_grid)
    return replace(read, shape=shape)


@write.register
def _(op: Permute, site: Site) -> Value:
    made = site.node("Transpose", site.read(), perm=(0, *(axis + 1 for axis in op.order)))
    return replace(made, on_grid=site.on_grid)
