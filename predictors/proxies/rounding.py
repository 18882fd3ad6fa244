"""Rounding of tensors to the grid of a precision, with a step of nearly least squared error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from search_spaces.quant import Quant

_SHARES = 24
_SMALLEST_SHARE = 0.1
_ROUNDS = 4


def rounded(x: Tensor, quant: Quant | None, *, channels: int = 0) -> Tensor:
    """The tensor `x` rounded to the grid of `quant`; unchanged for `None`.

    The step is found in two stages. First, of several shares of the range, from the whole range to
    a tenth, the one with the least squared error is taken. Then the step is refined by alternating
    least squares: for fixed codes q, the best step is sum(q x) / sum(q q).

    Args:
        x: Any tensor.
        quant: The precision.
        channels: The dimension of `x` along which each index has its own grid, if the granularity
            is per channel.
    """
    if quant is None:
        return x
    per_channel = quant.per_channel
    aligned = x.detach().movedim(channels, 0) if per_channel else x.detach().unsqueeze(0)
    rows = aligned.flatten(1)
    low, high = quant.code_range
    whole, zero = _range_grid(rows, quant)
    shares = torch.logspace(0.0, math.log10(_SMALLEST_SHARE), _SHARES).tolist()
    errors = torch.stack([_error(rows, whole * s, low - zero, high - zero) for s in shares])
    step = whole * torch.tensor(shares).to(whole)[errors.argmin(0)]
    for _ in range(_ROUNDS):
        codes = _codes(rows, step, low - zero, high - zero)
        square = codes.square().sum(1, keepdim=True)
        step = torch.where(square > 0, (codes * rows).sum(1, keepdim=True) / square, step)
    grid = (_codes(rows, step, low - zero, high - zero) * step).reshape(aligned.shape)
    return grid.movedim(0, channels) if per_channel else grid.squeeze(0)


def _range_grid(rows: Tensor, quant: Quant) -> tuple[Tensor, Tensor]:
    """The step and the zero point, each `(r, 1)`, of a grid over the whole range of each row.

    The range always contains zero.
    """
    low, high = quant.code_range
    if quant.symmetric:
        step = rows.abs().amax(1, keepdim=True) / high
        return step.clamp_min(torch.finfo(rows.dtype).tiny), torch.zeros_like(step)
    least = rows.amin(1, keepdim=True).clamp_max(0.0)
    most = rows.amax(1, keepdim=True).clamp_min(0.0)
    step = ((most - least) / (high - low)).clamp_min(torch.finfo(rows.dtype).tiny)
    return step, torch.round(-least / step)


def _codes(rows: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The nearest codes, relative to the zero point, `(r, n)`."""
    return torch.clamp(torch.round(rows / step), low, high)


def _error(rows: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The squared rounding error of each row, `(r, 1)`."""
    return (_codes(rows, step, low, high) * step - rows).square().sum(1, keepdim=True)
