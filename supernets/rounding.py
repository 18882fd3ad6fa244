"""Rounding of tensors to number formats in torch, and the steps of least squared error.

The arithmetic is that of ONNX Runtime: divide by the step, round half to even, clamp to the codes,
multiply. Zero points are integers, so zero is represented exactly. Bounds are kept relative to the
zero point, from `lowest code - zero point` to `highest code - zero point`, so that the zero point
does not occur in the arithmetic.
"""

# ruff: noqa: ARG001  # all cases of a dispatched function take the same arguments

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor

from search_spaces.formats import BFLOAT16, FLOAT16, Float, Format, Int
from search_spaces.quant import Float16, Float32, One, PowerOfTwo, Quant, ScaleFormat

# A number for the whole tensor, or a column `(blocks, 1)` for tensors whose blocks are rows.
Bound = float | Tensor
Bounds = tuple[Bound, Bound]

_SEARCHED_STEPS = 24
_SHARES = (1.0, 0.05)  # of the step that clips nothing, for integers
_SHARES_OF_FLOATS = (2.0, 0.25)  # their error hardly depends on the step, until numbers clip
_ROUNDS = 4
TYPES: dict[Format, torch.dtype] = {FLOAT16: torch.float16, BFLOAT16: torch.bfloat16}
"""The types of torch that have the very numbers of a format."""
_EXPONENT = 0x7F800000  # of a float32, whose other bits all zero give a power of two
_NEARBY = tuple(2.0 ** (k / 2) for k in range(-2, 3))


@singledispatch
def snapped(number_format: Format, x: Tensor, bounds: Bounds) -> Tensor:
    """The numbers of the format nearest to `x`, as a new tensor; ties go to the even code.

    Args:
        number_format: The format.
        x: The tensor, divided by its scale.
        bounds: The least and the greatest number, relative to the zero point.
    """
    raise NotImplementedError(
        f"{type(number_format).__name__} has no case of supernets.rounding.snapped"
    )


@snapped.register
def _(number_format: Int, x: Tensor, bounds: Bounds) -> Tensor:
    return _clamp_(torch.round(x), bounds)


@snapped.register
def _(number_format: Float, x: Tensor, bounds: Bounds) -> Tensor:
    held = torch.clamp(x, *number_format.bounds)
    if number_format in TYPES:  # the same numbers as below, several times as fast
        return held.to(TYPES[number_format]).to(torch.float32)
    power = (held.view(torch.int32) & _EXPONENT).view(torch.float32)
    quantum = power.clamp(min=number_format.smallest_normal) * 2.0**-number_format.mantissa
    return torch.round(held / quantum) * quantum


def _clamp_(x: Tensor, bounds: Bounds) -> Tensor:
    """Clamp `x` in place to bounds, which are numbers (much faster) or tensors."""
    return torch.clamp_(x, *bounds)  # pyright: ignore[reportArgumentType, reportCallIssue]


@singledispatch
def snapped_scales(stored: ScaleFormat, scales: Tensor) -> Tensor:
    """The numbers of a format of scales nearest to positive `scales`."""
    raise NotImplementedError(
        f"{type(stored).__name__} has no case of supernets.rounding.snapped_scales"
    )


@snapped_scales.register
def _(stored: Float32, scales: Tensor) -> Tensor:
    return scales


@snapped_scales.register
def _(stored: Float16, scales: Tensor) -> Tensor:
    held = torch.finfo(torch.float16)
    return scales.clamp(held.tiny, held.max).half().float()


@snapped_scales.register
def _(stored: PowerOfTwo, scales: Tensor) -> Tensor:
    share, exponent = torch.frexp(scales)  # a share is at least a half
    nearest = torch.where(share < 0.5**0.5, exponent - 1, exponent).clamp(-126, 127)
    return ((nearest + 127) << 23).view(torch.float32)


@snapped_scales.register
def _(stored: One, scales: Tensor) -> Tensor:
    return torch.ones_like(scales)


def relative_bounds(number_format: Format, zero_point: Tensor) -> Bounds:
    """The least and greatest number less the zero point; numbers if there is one zero point."""
    low, high = number_format.bounds
    if number_format.symmetric:
        return low, high
    if zero_point.numel() == 1:
        return low - int(zero_point), high - int(zero_point)
    return (low - zero_point).float(), (high - zero_point).float()


def zero_points(rows: Tensor, number_format: Format) -> Tensor:
    """The integer zero point `(r,)` of every row of `(r, n)`, from the row's least and greatest."""
    low, high = number_format.bounds
    if number_format.symmetric:
        return torch.zeros(len(rows), dtype=torch.int32, device=rows.device)
    least, most = rows.amin(1).clamp_max(0.0), rows.amax(1).clamp_min(0.0)
    share = -least / (most - least).clamp_min(torch.finfo(rows.dtype).tiny)
    return (low + torch.round(share * (high - low))).to(torch.int32)


def squared_error_steps(rows: Tensor, quant: Quant, zero_point: Tensor) -> Tensor:
    """The steps `(r,)` with (nearly) the least squared error on every row of `rows` `(r, n)`.

    The search tries a geometric sequence of steps, for integers from the step that clips nothing.
    Alternating least squares then refine the best step: given the numbers `q`, the best step is
    `sum(q * x) / sum(q * q)`, and no iteration raises the error. Steps that are stored in fewer
    bits than float32 are rounded, and their neighbours are tried once more. A format without scales
    has steps of one.
    """
    stored, bounds = quant.scales, relative_bounds(quant.format, zero_point[:, None])
    if stored == One():
        return torch.ones(len(rows)).to(rows)
    best = best_steps(rows, quant.format, bounds, _candidates(rows, quant.format, bounds))
    for _ in range(_ROUNDS):
        numbers = snapped(quant.format, rows / best.unsqueeze(1), bounds)
        square = (numbers * numbers).sum(1)
        step = (numbers * rows).sum(1) / square
        best = torch.where((square > 0) & (step > 0), step, best)
    if stored == Float32():
        return best
    nearby = snapped_scales(stored, torch.tensor(_NEARBY).to(best).unsqueeze(1) * best)
    return best_steps(rows, quant.format, bounds, nearby)


def _candidates(rows: Tensor, number_format: Format, bounds: Bounds) -> Tensor:
    """The steps to try, `(candidates, r)`, in descending order."""
    low, high = (torch.as_tensor(bound).to(rows).reshape(-1) for bound in bounds)
    positive = torch.where(high > 0, rows.amax(1) / high, 0.0)
    negative = torch.where(low < 0, rows.amin(1) / low, 0.0)
    whole = torch.maximum(positive, negative)
    # The range of a row of zeros is unknown, so the value one is assumed to be in the range.
    whole = torch.where(whole > 0, whole, 1.0 / torch.maximum(high, -low))
    first, last = _SHARES_OF_FLOATS if isinstance(number_format, Float) else _SHARES
    shares = torch.logspace(math.log10(first), math.log10(last), _SEARCHED_STEPS)
    return shares.to(rows).unsqueeze(1) * whole


def best_steps(rows: Tensor, number_format: Format, bounds: Bounds, candidates: Tensor) -> Tensor:
    """For each row of `(r, n)`, the first candidate of `(k, r)` with the least squared error."""
    best, least = candidates[0], torch.full_like(candidates[0], math.inf)
    for step in candidates:
        column = step.unsqueeze(1)
        near = snapped(number_format, rows / column, bounds).mul_(column)
        error = (near - rows).square_().sum(1)
        best, least = torch.where(error < least, step, best), torch.minimum(error, least)
    return best
