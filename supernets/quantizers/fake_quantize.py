"""Fake quantization: rounding to a number format, with gradients by the values and by the steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from search_spaces.quant import Quant
from supernets.quantizers.fused import fused_passes
from supernets.quantizers.passes import Levels, Passes, TorchPasses
from supernets.rounding import Bounds, snapped_scales


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
    def forward(
        ctx: Any, x: Tensor, log_step: Tensor, bounds: Bounds, quant: Quant, passes: Passes
    ) -> Tensor:
        step = snapped_scales(quant.scales, log_step.exp())
        output = passes.forward(x, Levels(quant.format, step, bounds))
        # What made `x`, such as a ReLU, mostly keeps `x` anyway. The output is cheap to make again.
        ctx.save_for_backward(x, step)
        ctx.bounds, ctx.format, ctx.passes = bounds, quant.format, passes
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, step = ctx.saved_tensors
        levels = Levels(ctx.format, step, ctx.bounds)
        return *ctx.passes.backward(grad_outputs[0], x, levels), None, None, None


def fake_quantized(x: Tensor, log_step: Tensor, bounds: Bounds, quant: Quant) -> Tensor:
    """`x` rounded to the numbers of a format times steps, which are given by their logarithms.

    Args:
        x: The tensor, whose blocks are rows unless there is a single step.
        log_step: The natural logarithms of the steps, in a shape that broadcasts to `x`.
        bounds: The least and the greatest number, relative to the zero point.
        quant: The precision, whose granularity has the format of the steps.
    """
    passes = fused_passes(x, quant.format) or TorchPasses()
    return _FakeQuantize.apply(x, log_step, bounds, quant, passes)  # pyright: ignore[reportReturnType]
