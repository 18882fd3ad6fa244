"""Kernels as functions of torch: in floating point, and in 8 bits by its quantized operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatchmethod
from typing import Any

import torch
from torch import Tensor
from torch.ao.nn import quantized
from torch.nn import functional as F

from nas.targets.errors import TargetError
from nas.targets.table.rows import folds
from search_spaces.kernels import Kernel
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Linear,
    Multiply,
    Op,
    Shape,
)

Function = Callable[..., Tensor]
STEP, ZERO = 0.05, 128  # of quantized activations
_FUNCTIONS: dict[str, Function] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
}


def program(kernel: Kernel, operators: FloatOperators | Int8Operators) -> Function:
    """A function of the kernel's inputs; norms are folded into the weights before them."""
    made: list[tuple[Function, tuple[int, ...]]] = []
    members = [*kernel.members()]
    outside = len(kernel.inputs)
    for (op, shapes), slots in zip(members, kernel.slots, strict=True):
        before = members[slots[0] - outside][0] if slots[0] >= outside else None
        hidden = before is not None and folds(before, op)
        made.append(((lambda x: x) if hidden else operators.emit(op, shapes), slots))

    def run(*inputs: Tensor) -> Tensor:
        values = list(inputs)
        for function, slots in made:
            values.append(function(*(values[slot] for slot in slots)))
        return values[-1]

    return run


class FloatOperators:
    """Operators in floating point, with random weights.

    Args:
        dtype: Of weights and activations.
        device: Where they lie.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._options = {"dtype": dtype, "device": device}

    def tensor(self, *shape: int) -> Tensor:
        """A random tensor."""
        return torch.randn(shape, **self._options)

    @singledispatchmethod
    def emit(self, op: Op, shapes: tuple[Shape, ...]) -> Function:
        """The function that an operator is on inputs of these shapes."""
        raise TargetError(f"operator {type(op).__name__} has no form in torch to be timed in")

    @emit.register
    def _(self, op: Conv2d | DepthwiseConv2d, shapes: tuple[Shape, ...]) -> Function:
        shape = op.deployed(*shapes)["weight"].shape
        weight, bias = self.tensor(*shape), self.tensor(shape[0])
        window, groups = op.window, shapes[0][0] // shape[1]
        margins = window.margins or (0, 0)
        return lambda x: F.conv2d(x, weight, bias, window.stride, margins, window.dilation, groups)

    @emit.register
    def _(self, op: Linear, shapes: tuple[Shape, ...]) -> Function:
        weight, bias = self.tensor(*op.deployed(*shapes)["weight"].shape), self.tensor(op.out)
        return lambda x: F.linear(x.flatten(1), weight, bias)

    @emit.register
    def _(self, op: BatchNorm2d, shapes: tuple[Shape, ...]) -> Function:
        mean, bias, scale = (self.tensor(shapes[0][0]) for _ in range(3))
        variance = self.tensor(shapes[0][0]).abs()
        return lambda x: F.batch_norm(x, mean, variance, scale, bias)

    @emit.register
    def _(self, op: Activation, shapes: tuple[Shape, ...]) -> Function:
        return _FUNCTIONS[op.function]

    @emit.register
    def _(self, op: Add, shapes: tuple[Shape, ...]) -> Function:
        return lambda a, b: a + b

    @emit.register
    def _(self, op: Multiply, shapes: tuple[Shape, ...]) -> Function:
        return lambda a, b: a * b

    @emit.register
    def _(self, op: GlobalPool, shapes: tuple[Shape, ...]) -> Function:
        return lambda x: F.adaptive_avg_pool2d(x, 1)


class Int8Operators:
    """Operators of torch's quantized engine: uint8 activations, int8 weights per channel."""

    def tensor(self, *shape: int) -> Tensor:
        """A random tensor, images with channels last, as the engine keeps them."""
        value = torch.randn(shape)
        if len(shape) == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        return torch.quantize_per_tensor(value, STEP, ZERO, torch.quint8)

    @singledispatchmethod
    def emit(self, op: Op, shapes: tuple[Shape, ...]) -> Function:
        """The function that an operator is on inputs of these shapes."""
        raise TargetError(f"operator {type(op).__name__} has no 8-bit form in torch")

    @emit.register
    def _(self, op: Conv2d | DepthwiseConv2d, shapes: tuple[Shape, ...]) -> Function:
        out, within, *_ = op.deployed(*shapes)["weight"].shape
        channels = shapes[0][0]
        window: dict[str, Any] = {
            "kernel_size": op.window.kernel,
            "stride": op.window.stride,
            "padding": op.window.margins or (0, 0),
            "dilation": op.window.dilation,
        }
        layer = quantized.Conv2d(channels, out, **window, groups=channels // within)
        return _weighted(layer, op.deployed(*shapes)["weight"].shape)

    @emit.register
    def _(self, op: Linear, shapes: tuple[Shape, ...]) -> Function:
        out, width = op.deployed(*shapes)["weight"].shape
        layer = _weighted(quantized.Linear(width, out), (out, width))
        return lambda x: layer(x.flatten(1))

    @emit.register
    def _(self, op: Activation, shapes: tuple[Shape, ...]) -> Function:
        if op.function == "hardswish":
            return lambda x: torch.ops.quantized.hardswish(x, STEP, ZERO)
        return _FUNCTIONS[op.function]

    @emit.register
    def _(self, op: Add, shapes: tuple[Shape, ...]) -> Function:
        return lambda a, b: torch.ops.quantized.add(a, b, STEP, ZERO)

    @emit.register
    def _(self, op: Multiply, shapes: tuple[Shape, ...]) -> Function:
        return lambda a, b: torch.ops.quantized.mul(a, b, STEP, ZERO)

    @emit.register
    def _(self, op: GlobalPool, shapes: tuple[Shape, ...]) -> Function:
        return lambda x: F.adaptive_avg_pool2d(x, 1)


def _weighted(layer: quantized.Conv2d | quantized.Linear, shape: Shape) -> Function:
    """A layer with random weights, a scale per output channel, and an output scale."""
    scales, zeros = torch.full((shape[0],), STEP), torch.zeros(shape[0], dtype=torch.long)
    weight = torch.quantize_per_channel(torch.randn(shape), scales, zeros, 0, torch.qint8)
    layer.set_weight_bias(weight, torch.zeros(shape[0]))
    layer.scale, layer.zero_point = STEP, ZERO
    return layer
