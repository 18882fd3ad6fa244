"""Tensors rounded to the grid of a precision whose step has about the least squared error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from search_spaces.quant import Quant

_SHARES = 24
_SMALLEST_SHARE = 0.1
_ROUNDS = 4


def rounded(x: Tensor, quant: Quant | None, *, channels: int = 0) -> Tensor:
    """`x` on the grid of `quant`; unchanged for `None`.

    The step comes from the share of the range, from all of it down to a tenth, with the least
    squared error, then from alternating least squares: for given codes q it is sum(q x) / sum(q q).
    Where the granularity is per channel, every index along dimension `channels` has its own grid.
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
    """The step and the zero point `(r, 1)` of each row's whole range, zero included."""
    low, high = quant.code_range
    if quant.symmetric:
        step = rows.abs().amax(1, keepdim=True) / high
        return step.clamp_min(torch.finfo(rows.dtype).tiny), torch.zeros_like(step)
    least = rows.amin(1, keepdim=True).clamp_max(0.0)
    most = rows.amax(1, keepdim=True).clamp_min(0.0)
    step = ((most - least) / (high - low)).clamp_min(torch.finfo(rows.dtype).tiny)
    return step, torch.round(-least / step)


def _codes(rows: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The nearest codes relative to the zero point."""
    return torch.clamp(torch.round(rows / step), low, high)


def _error(rows: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The squared error `(r, 1)`."""
    return (_codes(rows, step, low, high) * step - rows).square().sum(1, keepdim=True)
