"""The bits that the values of a tensor need."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST = 8
FULL = 32
_FEW = 4  # values of a row that tell nothing of a grid
_ROWS, _VALUES = 16, (16, 1024)  # how many are looked at; few are enough for what has no grid
_CLOSE = 0.005  # of a step; 8 bits in float32 are a hundred times closer


def bits_of(x: Tensor) -> int:
    """The bits of the smallest uniform grid through 0 that holds all values of each row, or 32.

    Up to 16 rows and 1,024 values of each are looked at, spread evenly.

    Args:
        x: Rows of values, `(rows, n)`; each row has a grid of its own, and the row that needs the
            most bits counts. Rows of fewer than four values share one grid.
    """
    rows = x.detach().double()
    rows = rows.reshape(1, -1) if rows.shape[1] < _FEW else rows
    rows = rows[:: math.ceil(len(rows) / _ROWS)]
    range_ = rows.amax(1).clamp(min=0) - rows.amin(1).clamp(max=0)
    few, many = (rows[:, :: math.ceil(rows.shape[1] / count)] for count in _VALUES)
    if _steps(few, range_) >= 2**MOST:
        return FULL
    steps = _steps(many, range_)
    return FULL if steps >= 2**MOST else max(math.ceil(math.log2(steps + 1)), 1)


def _steps(rows: Tensor, range_: Tensor) -> int:
    """The fewest steps over the range of each row such that all its values are whole steps.

    The row that needs the most counts; 256 if one has no such grid, and 0 if all values are 0.
    """
    rows, range_ = rows[range_ > 0], range_[range_ > 0]
    if not len(rows):
        return 0
    steps = rows.new_ones(2**MOST - 1).cumsum(0)[:, None, None]
    whole = (rows / range_[:, None]) * steps
    fits = ((whole - whole.round()).abs() < _CLOSE).all(2)  # (steps, rows)
    fewest = torch.where(fits.any(0), fits.double().argmax(0) + 1, 2**MOST)
    return int(fewest.max())
