"""Rounding of a weight column by column, where later columns make good the error of earlier ones.

A layer's output error for weights `W + D` is `sum over rows d of d H d'`, where `H` is the second
moment of the layer's inputs. Once a column is rounded, the best values of the other columns are
known in closed form (optimal brain quantization, Frantar and Alistarh 2022, eq. 2). GPTQ (Frantar
et al. 2023, algorithm 1) takes the columns of all rows in one order, so that a single Cholesky
factor holds all updates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from supernets.post_training.lattice import Lattice, in_order

DAMPING = 0.01
"""The share of the mean of the diagonal that is added to it, as in the authors' code."""
_BLOCK = 128  # columns whose updates are gathered before the columns behind them are changed


def error_feedback(
    weight: Tensor, gram: Tensor, lattice: Lattice, *, act_order: bool = True
) -> Tensor:
    """`weight` rounded with error feedback; no row has a greater error than rounded to nearest.

    Args:
        weight: The weight, `(groups, out, columns)`.
        gram: The second moment of the inputs, `(groups, columns, columns)`.
        lattice: The values that the entries may have.
        act_order: Whether the columns with the greatest inputs come first.
    """
    order = torch.arange(gram.shape[-1]).expand(gram.shape[:2])
    if act_order:
        order = gram.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    moved = in_order(weight, order)
    rounded = _column_by_column(moved, _factor(gram, order), lattice.ordered(order))
    found = in_order(rounded, order.argsort(dim=1))
    return better_rows(weight, gram, found, lattice.near(weight))


def output_error(difference: Tensor, gram: Tensor) -> Tensor:
    """The mean squared output error of every row, `(groups, out)`, for weights off by so much."""
    return ((difference @ gram) * difference).sum(2)


def better_rows(weight: Tensor, gram: Tensor, found: Tensor, other: Tensor) -> Tensor:
    """Each row of `found` or of `other`: the one with the smaller output error."""
    worse = output_error(found - weight, gram) > output_error(other - weight, gram)
    return torch.where(worse.unsqueeze(2), other, found)


def damped(gram: Tensor, share: float = DAMPING) -> Tensor:
    """`gram` in float64 with a `share` of its mean diagonal added, so that it can be inverted."""
    exact = gram.double()
    mean = exact.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(torch.float32).tiny)
    return exact + share * mean[:, None, None] * torch.eye(gram.shape[-1], dtype=exact.dtype)


def _factor(gram: Tensor, order: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of the damped `gram` in another order."""
    rows = gram.gather(1, order.unsqueeze(2).expand_as(gram))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(in_order(rows, order))))
    return torch.linalg.cholesky(inverse, upper=True).float()


def _column_by_column(weight: Tensor, factor: Tensor, lattice: Lattice) -> Tensor:
    left, rounded = weight.clone(), torch.empty_like(weight)
    for start in range(0, weight.shape[2], _BLOCK):
        stop = min(start + _BLOCK, weight.shape[2])
        errors = torch.empty_like(weight[..., start:stop])
        for column in range(start, stop):
            here = slice(column, column + 1)
            rounded[..., here] = lattice.columns(here).near(left[..., here])
            error = (left[..., here] - rounded[..., here]) / factor[:, here, here]
            left[..., column:stop] -= error * factor[:, here, column:stop]
            errors[..., column - start] = error[..., 0]
        left[..., stop:] -= errors @ factor[:, start:stop, stop:]
    return rounded
