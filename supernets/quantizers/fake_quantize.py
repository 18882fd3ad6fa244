"""Fake quantization: rounding to a number format, with gradients by the values and by the steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from search_spaces.quant import Quant
from supernets.rounding import Bounds, snapped, snapped_scales


class _FakeQuantize(torch.autograd.Function):
    """Fake quantization with the gradients of LSQ (Esser et al. 2020, eq. 1-5) in closed form.

    Rounding, of values and of scales, is passed straight through. The gradient by the logarithm of
    a step is the plain derivative, `step` times the gradient by the step, without a factor. LSQ
    divides by a root of the number of elements instead, and a logarithm would then divide by the
    step once more: behind a batch norm, which undoes the scale of a channel, such a gradient grows
    as the step shrinks, until the step collapses. The plain derivative is bounded by the gradients
    by the elements times their sizes.

    Let `y` be the output and `g` the gradient by `y`. The derivative is `sum(g * y)` over all
    elements, less `sum(g * x)` over the elements inside the bounds. An element inside the bounds
    thus moves with its rounding error `y - x`; an element outside moves with the bound.
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
        grad_log = _sum_to(grad, output, step) - _sum_to(inside, scaled, step) * step
        return inside, grad_log, None, None


def fake_quantized(x: Tensor, log_step: Tensor, bounds: Bounds, quant: Quant) -> Tensor:
    """`x` rounded to the numbers of a format times steps, which are given by their logarithms.

    Args:
        x: The tensor, whose blocks are rows unless there is a single step.
        log_step: The natural logarithms of the steps, in a shape that broadcasts to `x`.
        bounds: The least and the greatest number, relative to the zero point.
        quant: The precision, whose granularity has the format of the steps.
    """
    return _FakeQuantize.apply(x, log_step, bounds, quant)  # pyright: ignore[reportReturnType]


def _grad_inside(grad: Tensor, scaled: Tensor, bounds: Bounds, reach: float) -> Tensor:
    """The gradient for elements whose code is not clamped; zero for all others."""
    low, high = bounds
    if isinstance(low, float) and isinstance(high, float):
        return torch.ops.aten.hardtanh_backward(grad, scaled, low - reach, high + reach)
    return grad * ((scaled > low - reach) & (scaled < high + reach))


def _sum_to(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """The sums of `a * b`, in the shape of `like`, over the axes along which `like` broadcasts."""
    if like.numel() == 1:
        return torch.dot(a.reshape(-1), b.reshape(-1)).reshape(like.shape)
    return (a * b).reshape(like.numel(), -1).sum(1).reshape(like.shape)
