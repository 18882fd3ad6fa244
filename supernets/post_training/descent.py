"""Weights and steps of least output error, by descent along one column or one step at a time.

The objective is that of AdaQuant (Hubara et al. 2021, eq. 2), the squared error of a layer's output
over weights, bias and steps. It is a quadratic function of the weights, so that no gradient steps
are needed: for one column, the best value on the grid is known in closed form (Behdin et al. 2023,
QuantEase, eq. 6), and so is the best step of a block for given numbers. Each move lowers the error.
The best bias is known too: it is why the moments of the inputs are taken about their means.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from search_spaces.quant import ScaleFormat
from supernets.post_training.lattice import Lattice
from supernets.rounding import snapped_scales

_PASSES = 4


def descended(
    target: Tensor,
    gram: Tensor,
    start: tuple[Tensor, Lattice],
    *,
    stored: ScaleFormat | None = None,
    passes: int = _PASSES,
) -> tuple[Tensor, Lattice]:
    """Values on a lattice with less output error than those at the start.

    Args:
        target: The weight to come near to, `(groups, out, columns)`.
        gram: The second moment of the inputs, `(groups, columns, columns)`.
        start: Values to start from, and the lattice on which they lie.
        stored: The format in which steps are stored; None keeps all steps.
        passes: How often all columns are visited.
    """
    values, lattice = start[0].clone(), start[1]
    slope = (values - target) @ gram
    for _ in range(passes):
        if stored is not None:
            lattice = _better_steps(values, slope, gram, (lattice, stored))
        _better_columns(values, slope, gram, lattice)
    return values, lattice


def _better_columns(values: Tensor, slope: Tensor, gram: Tensor, lattice: Lattice) -> None:
    """Move every column of `values` to its best place, in place; `slope` follows."""
    curvature = gram.diagonal(dim1=1, dim2=2)
    seen = curvature > 0
    safe = torch.where(seen, curvature, 1.0)
    for column in range(values.shape[2]):
        here = slice(column, column + 1)
        before = values[..., here]
        best = before - slope[..., here] / safe[:, None, here]
        after = lattice.columns(here).near(best)
        change = torch.where(seen[:, None, here], after - before, 0.0)
        if change.count_nonzero():
            values[..., here] += change
            slope += change * gram[:, here]


def _better_steps(
    values: Tensor, slope: Tensor, gram: Tensor, steps: tuple[Lattice, ScaleFormat]
) -> Lattice:
    """The lattice with better steps for the numbers of `values`, which are scaled in place."""
    lattice, stored = steps
    step = lattice.step.clone()
    ends = (*lattice.starts[1:], values.shape[2])
    for first, last in zip(lattice.starts, ends, strict=True):
        part = slice(first, last)
        moved = values[..., part] @ gram[:, part]
        down = (slope[..., part] * values[..., part]).sum(2, keepdim=True)
        curvature = (moved[..., part] * values[..., part]).sum(2, keepdim=True)
        if lattice.shared:
            down, curvature = down.sum().expand_as(down), curvature.sum().expand_as(curvature)
        safe = torch.where(curvature > 0, curvature, 1.0)
        factor = (1 - down / safe).clamp(0.5, 2.0)  # numbers are no longer the best ones far away
        old = step[..., first : first + 1]
        new = snapped_scales(stored, old * factor)
        gain = new / old - 1
        gain = torch.where(gain * (2 * down + gain * curvature) < 0, gain, 0.0)
        step[..., part] = torch.where(gain == 0, old, new)
        values[..., part] *= 1 + gain
        slope += gain * moved
    return replace(lattice, step=step)
