"""The passes over a tensor that fake quantization consists of, in torch's own operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from search_spaces.formats import Format
from supernets.rounding import Bounds, snapped


@dataclass(frozen=True, eq=False)
class Levels:
    """The numbers that a tensor is rounded to.

    Attributes:
        format: The format of the codes.
        step: The step, a single one or a column with one for each row of the tensor.
        bounds: The least and the greatest number, relative to the zero point.
    """

    format: Format
    step: Tensor
    bounds: Bounds


class Passes(Protocol):
    """The forward and the backward pass over a tensor, whose blocks are rows if there are many."""

    def forward(self, x: Tensor, levels: Levels, /) -> Tensor:
        """The numbers of the levels nearest to `x`."""
        ...

    def backward(self, grad: Tensor, x: Tensor, levels: Levels, /) -> tuple[Tensor, Tensor]:
        """The gradients by `x` and by the logarithms of the steps, from the one by the output."""
        ...


class TorchPasses:
    """The passes for every device, type and format."""

    def forward(self, x: Tensor, levels: Levels) -> Tensor:
        return snapped(levels.format, x / levels.step, levels.bounds).mul_(levels.step)

    def backward(self, grad: Tensor, x: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
        scaled = x / levels.step
        inside = _grad_inside(grad, scaled, levels)
        output = snapped(levels.format, scaled, levels.bounds).mul_(levels.step)
        return inside, _sums(grad, output, levels.step) - _sums(inside, x, levels.step)


def _grad_inside(grad: Tensor, scaled: Tensor, levels: Levels) -> Tensor:
    """The gradient for elements whose code is not clamped; zero for all others."""
    (low, high), reach = levels.bounds, levels.format.reach
    if isinstance(low, float) and isinstance(high, float):
        return torch.ops.aten.hardtanh_backward(grad, scaled, low - reach, high + reach)
    return torch.where((scaled > low - reach) & (scaled < high + reach), grad, 0.0)


def _sums(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """The sums of `a * b` over the whole tensor or over each row, in the shape of `like`."""
    product = a * b
    return (product.sum() if like.numel() == 1 else product.sum(1)).reshape(like.shape)
