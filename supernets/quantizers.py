"""Quantizers of a supernet: tensors rounded to values that codes of few bits stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import singledispatch
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.formats import Float, Format
from search_spaces.ops import Parameter, Shape
from search_spaces.quant import Quant
from supernets.blocks import blocks_of, counts_of, from_rows, to_rows
from supernets.encoded import EncodedTensor
from supernets.rounding import (
    Bounds,
    relative_bounds,
    snapped,
    snapped_scales,
    squared_error_steps,
    zero_points,
)


class Quantizer(nn.Module):
    """Base of the fake quantizers of a tensor in any of several precisions.

    All widths and depths of a layer share its quantizer. Every parameter of a quantizer is trained
    as a step: without weight decay, at the learning rate of steps.

    Attributes:
        name: The name in recipes and checkpoints.
        quants: The precisions.

    Args:
        quants: The precisions, resolved.
        weight: The largest weight that is quantized; None for an input of an operator, which has a
            single scale.
    """

    name: ClassVar[str]

    def __init__(self, quants: Iterable[Quant], weight: Parameter | None = None) -> None:
        super().__init__()
        self.quants = tuple(quants)

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        """`x` fake-quantized to `quant`, with gradients to `x` and to the parameters."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def encode(self, x: Tensor, quant: Quant, shape: Shape) -> EncodedTensor:
        """The codes and scales of `forward(x, quant)`, for a device that stores `x` in `shape`."""
        raise NotImplementedError(f"{type(self).__name__} must define encode")

    def scalar(self, quant: Quant) -> tuple[float, int]:
        """The scale and the zero point of a per-tensor `quant`, as plain numbers."""
        raise NotImplementedError(f"{type(self).__name__} must define scalar")

    def initialise(self, values: Tensor) -> None:
        """Set the state of every precision to fit `values`.

        Those of a weight have the largest shape; those of an input have any shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define initialise")


class _FakeQuantize(torch.autograd.Function):
    """Fake quantization with the gradients of LSQ (Esser et al. 2020, eq. 1-5) in closed form.

    Rounding, of values and of scales, is passed straight through.

    The backward pass takes one elementwise pass and two dot products. Let `v = x / step`, `y` the
    output and `g` the gradient by `y`. The gradient by the step is `sum(g * y) / step` over all
    elements, less `sum(g * v)` over the elements inside the bounds. An element inside the bounds
    thus has LSQ's factor `round(v) - v`; an element outside has the bound as its factor.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_step: Tensor, bounds: Bounds, quant: Quant) -> Tensor:
        step = snapped_scales(quant.granularity.scale, log_step.exp())
        scaled = x / step
        output = snapped(quant.format, scaled, bounds).mul_(step)
        ctx.save_for_backward(scaled, output, step)
        ctx.bounds, ctx.format = bounds, quant.format
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        scaled, output, step = ctx.saved_tensors
        inside = _grad_inside(grad, scaled, ctx.bounds, ctx.format.reach)
        if not ctx.needs_input_grad[1]:
            return inside, None, None, None
        grad_step = _sum_to(grad, output, step) / step - _sum_to(inside, scaled, step)
        elements = grad.numel() / step.numel()
        # The gradient by the logarithm is divided by the step, so that descent moves it as in LSQ.
        grad_log = grad_step / step / math.sqrt(elements * _codes(ctx.format))
        return inside, grad_log, None, None


def _grad_inside(grad: Tensor, scaled: Tensor, bounds: Bounds, reach: float) -> Tensor:
    """The gradient for elements whose code is not clamped; zero for all others."""
    low, high = bounds
    if isinstance(low, float) and isinstance(high, float):
        return torch.ops.aten.hardtanh_backward(grad, scaled, low - reach, high + reach)
    return grad * ((scaled > low - reach) & (scaled < high + reach))


@singledispatch
def _codes(number_format: Format) -> float:
    """The number of codes in LSQ's factor `1 / sqrt(elements * codes)` of a step's gradient."""
    return number_format.positives


@_codes.register
def _(number_format: Float) -> float:
    # The factor makes relative changes of steps and of weights alike (section 2.2): it undoes the
    # size of a number times that of its error. Both grow with the number, so that the product is
    # about the square of the largest number over 2**(mantissa + 5), not the root of the codes.
    return (number_format.largest**2 / 2 ** (number_format.mantissa + 5)) ** 2


def _sum_to(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """The sums of `a * b`, in the shape of `like`, over the axes along which `like` broadcasts."""
    if like.numel() == 1:
        return torch.dot(a.reshape(-1), b.reshape(-1)).reshape(like.shape)
    return (a * b).reshape(like.numel(), -1).sum(1).reshape(like.shape)


def _fake_quantized(x: Tensor, log_step: Tensor, bounds: Bounds, quant: Quant) -> Tensor:
    return _FakeQuantize.apply(x, log_step, bounds, quant)  # pyright: ignore[reportReturnType]


class LearnedSteps(Quantizer):
    """Learned step size quantization (LSQ) with steps of each precision, one per block.

    The parameters are the logarithms of steps, which keeps steps positive and makes a learning rate
    a relative change at every bit-width. Their gradient is that of LSQ, scaled by
    `1 / sqrt(elements * codes)`. A narrower tensor uses the first of the steps.
    """

    name = "lsq"

    def __init__(self, quants: Iterable[Quant], weight: Parameter | None = None) -> None:
        super().__init__(quants, weight)
        self._roles = () if weight is None else weight.roles
        self.log_steps = nn.ParameterDict()
        for quant in self.quants:
            shape = (1,)
            if weight is not None and not quant.granularity.single:
                shape = counts_of(weight.shape, self._blocks(quant, weight.shape))
            self.log_steps[_name(quant)] = nn.Parameter(torch.zeros(shape))
            self.register_buffer(f"zero_{_name(quant)}", torch.zeros(shape, dtype=torch.int32))
        # Plain numbers, which are read from the buffers only once, since each read halts a GPU.
        self._bounds: dict[Quant, Bounds] = {}
        self.register_load_state_dict_post_hook(_forget_bounds)

    def forward(self, x: Tensor, quant: Quant) -> Tensor:
        steps = self.log_steps[_name(quant)]
        if quant.granularity.single:
            return _fake_quantized(x, steps, self._bounds_of(quant), quant)
        blocks = self._blocks(quant, tuple(x.shape))
        bounds = relative_bounds(quant.format, self._column(self.zero_point(quant), x, blocks))
        rows, column = to_rows(x, blocks), self._column(steps, x, blocks)
        return from_rows(_fake_quantized(rows, column, bounds, quant), x.shape, blocks)

    def encode(self, x: Tensor, quant: Quant, shape: Shape) -> EncodedTensor:
        blocks = self._blocks(quant, tuple(x.shape))
        log_step = self._column(self.log_steps[_name(quant)].detach(), x, blocks)
        step = snapped_scales(quant.granularity.scale, log_step.exp())
        zero = self._column(self.zero_point(quant), x, blocks)
        rows = to_rows(x.detach(), blocks) / step
        numbers = snapped(quant.format, rows, relative_bounds(quant.format, zero)) + zero
        whole = from_rows(numbers, x.shape, blocks).reshape(shape).cpu().numpy()
        counts = quant.granularity.counts(shape)
        return EncodedTensor(
            quant.format.encode(whole).astype(np.int32),
            step.reshape(counts).cpu().numpy(),
            zero.reshape(counts).cpu().numpy(),
            quant,
        )

    def scalar(self, quant: Quant) -> tuple[float, int]:
        step = snapped_scales(quant.granularity.scale, self.log_steps[_name(quant)].detach().exp())
        return float(step), int(self.zero_point(quant))

    def zero_point(self, quant: Quant) -> Tensor:
        """The integer zero points of `quant` for the largest tensor, one per block."""
        return self.get_buffer(f"zero_{_name(quant)}")

    def initialise(self, values: Tensor) -> None:
        """Set the steps and zero points of every precision to the least squared error."""
        x = values.detach()
        for quant in self.quants:
            single = quant.granularity.single
            blocks = tuple(x.shape) if single else self._blocks(quant, tuple(x.shape))
            rows, shape = to_rows(x, blocks), self.zero_point(quant).shape
            zero = zero_points(rows, quant.format)
            step = squared_error_steps(rows, quant, zero)
            with torch.no_grad():
                self.log_steps[_name(quant)].copy_(step.log().reshape(shape))
                self.zero_point(quant).copy_(zero.reshape(shape))
        self._bounds.clear()

    def _blocks(self, quant: Quant, shape: Shape) -> Shape:
        roles = self._roles or ("window",) * len(shape)
        return blocks_of(quant.granularity, shape, roles)

    def _column(self, values: Tensor, x: Tensor, blocks: Shape) -> Tensor:
        """The values of the blocks of `x`, `(blocks, 1)`."""
        if values.numel() == 1:
            return values.reshape(1, 1)
        counts = counts_of(tuple(x.shape), blocks)
        return values[tuple(map(slice, counts))].reshape(-1, 1)

    def _bounds_of(self, quant: Quant) -> Bounds:
        """The bounds of a precision with a single scale."""
        if quant not in self._bounds:
            self._bounds[quant] = relative_bounds(quant.format, self.zero_point(quant))
        return self._bounds[quant]


def _forget_bounds(quantizer: LearnedSteps, _: object) -> None:
    quantizer._bounds.clear()


def _name(quant: Quant) -> str:
    return f"{quant.name}_{quant.granularity.name}"
