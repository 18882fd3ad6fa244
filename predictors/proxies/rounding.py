"""Rounding of tensors to the grid of a precision, with a step of nearly least squared error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from search_spaces.formats import Format, Int
from search_spaces.quant import Float32, Granularity, Quant

_SHARES = 24
_SMALLEST_SHARE = 0.1
_ROUNDS = 4
_SEEN = 1 << 14
"""The numbers of a row by which its step is found; a large activation has millions."""


def rounded(x: Tensor, quant: Quant | None, *, channels: int = 0) -> Tensor:
    """The tensor `x` rounded to the grid of `quant`; unchanged for `None`.

    The step is found in two stages. First, of several shares of the range, from the whole range to
    a tenth, the one with the least squared error is taken. Then the step is refined by alternating
    least squares: for fixed numbers q, the best step is sum(q x) / sum(q q). Of long rows, numbers
    at equal distances are looked at. Numbers of a format without scales are rounded as they are.

    Args:
        x: Any tensor.
        quant: The precision.
        channels: The dimension of `x` that holds the output channels, unless a single scale serves
            the whole tensor.

    Raises:
        ValueError: If the blocks that share a scale are not neighbours in memory.
    """
    if quant is None:
        return x
    if not quant.format.scaled:
        return torch.from_numpy(quant.format.snap(x.detach().cpu().numpy())).to(x)
    single = quant.granularity.single
    aligned = x.detach() if single else x.detach().movedim(channels, 0)
    rows = aligned.reshape(_blocks(aligned, quant.granularity), -1)
    whole, zero = _range_grid(rows, quant.format)
    apart = rows.shape[1] // _SEEN | 1  # odd, so that images are not seen in a few columns only
    step = _step(rows[:, ::apart], whole, zero, quant.format)
    stored = quant.granularity.scale
    if stored != Float32():
        step = torch.from_numpy(stored.snap(step.cpu().numpy())).to(step)
    grid = (_numbers(rows, step, zero, quant.format) * step).reshape(aligned.shape)
    return grid if single else grid.movedim(0, channels)


def _step(rows: Tensor, whole: Tensor, zero: Tensor, number_format: Format) -> Tensor:
    """The step of nearly least squared error of each row, `(r, 1)`; `whole` spans the range."""
    shares = torch.logspace(0.0, math.log10(_SMALLEST_SHARE), _SHARES).tolist()
    errors = torch.stack([_error(rows, whole * s, zero, number_format) for s in shares])
    step = whole * torch.tensor(shares).to(whole)[errors.argmin(0)]
    for _ in range(_ROUNDS):
        numbers = _numbers(rows, step, zero, number_format)
        square = numbers.square().sum(1, keepdim=True)
        step = torch.where(square > 0, (numbers * rows).sum(1, keepdim=True) / square, step)
    return step


def _blocks(aligned: Tensor, granularity: Granularity) -> int:
    """The number of blocks of a tensor with its output channels first, each a row of memory."""
    shape = tuple(aligned.shape)
    blocks = granularity.blocks(shape)
    cut = [axis for axis, block in enumerate(blocks) if block > 1]
    if cut and blocks[cut[0] + 1 :] != shape[cut[0] + 1 :]:
        raise ValueError(
            f"blocks of {blocks} elements of a tensor {shape} are not neighbours in memory; give "
            "PerTensor(), PerChannel() or PerGroup(size)"
        )
    return aligned.numel() // math.prod(blocks)


def _range_grid(rows: Tensor, number_format: Format) -> tuple[Tensor, Tensor]:
    """The step and the zero point, each `(r, 1)`, of a grid over the whole range of each row.

    The range always contains zero.
    """
    low, high = number_format.bounds
    if number_format.symmetric:
        step = rows.abs().amax(1, keepdim=True) / high
        return step.clamp_min(torch.finfo(rows.dtype).tiny), torch.zeros_like(step)
    least = rows.amin(1, keepdim=True).clamp_max(0.0)
    most = rows.amax(1, keepdim=True).clamp_min(0.0)
    step = ((most - least) / (high - low)).clamp_min(torch.finfo(rows.dtype).tiny)
    return step, torch.round(-least / step)


def _numbers(rows: Tensor, step: Tensor, zero: Tensor, number_format: Format) -> Tensor:
    """The nearest numbers of the format, relative to the zero point, `(r, n)`."""
    if isinstance(number_format, Int):
        low, high = number_format.bounds
        return torch.clamp(torch.round(rows / step), low - zero, high - zero)
    return torch.from_numpy(number_format.snap((rows / step).cpu().numpy())).to(rows)


def _error(rows: Tensor, step: Tensor, zero: Tensor, number_format: Format) -> Tensor:
    """The squared rounding error of each row, `(r, 1)`."""
    return (_numbers(rows, step, zero, number_format) * step - rows).square().sum(1, keepdim=True)
