"""Rounding of weights to the nearest numbers of their formats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.quant import Quant
from supernets.blocks import from_rows, to_rows
from supernets.deployed import Deployed, Rewrite
from supernets.encoded import EncodedTensor
from supernets.post_training.reference import Reference
from supernets.quantizers.quantizer import encoded
from supernets.rounding import (
    relative_bounds,
    snapped,
    snapped_scales,
    squared_error_steps,
    zero_points,
)

Weight = NDArray[np.float32]
Steps = Callable[[Tensor, Quant, Tensor], Tensor]
"""A function of blocks as rows `(r, n)`, a precision, and zero points `(r,)`: the steps `(r,)`."""


def nearest(reference: Reference) -> Rewrite:  # noqa: ARG001  # every maker takes a reference
    """The rewrite that rounds weights to the nearest, with steps of the least squared error."""
    return Nearest(squared_error_steps)


def nearest_in_range(reference: Reference) -> Rewrite:  # noqa: ARG001
    """The rewrite that rounds weights to the nearest, with steps that clip no number."""
    return Nearest(whole_range_steps)


class Nearest:
    """A rewrite that rounds every float weight whose operator has a precision.

    The last result for each operator and precision is kept, so that networks that differ elsewhere
    round a weight once.

    Args:
        steps: The function that finds the steps.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._kept: dict[tuple[str, Quant], tuple[Weight, EncodedTensor]] = {}

    def __call__(self, deployed: Deployed) -> Deployed:
        """The network with its float weights rounded."""
        for address, weight, quant in unrounded(deployed):
            deployed = deployed.changed(address, weight=self._rounded(address, weight, quant))
        return deployed

    def _rounded(self, address: str, weight: Weight, quant: Quant) -> EncodedTensor:
        given, found = self._kept.get((address, quant), (None, None))
        if given is None or found is None or not (given is weight or np.array_equal(given, weight)):
            found = rounded(weight, quant, self._steps)
            self._kept[address, quant] = (weight, found)
        return found


def unrounded(deployed: Deployed) -> list[tuple[str, Weight, Quant]]:
    """The address, the float weight and the precision of operators that are still to be rounded."""
    return [
        (address, weight, quant)
        for address, node in deployed.graph.nodes.items()
        if (quant := node.op.weight) is not None
        and isinstance(weight := deployed.weight(address), np.ndarray)
    ]


def rounded(weight: Weight, quant: Quant, steps: Steps = squared_error_steps) -> EncodedTensor:
    """The weight at a precision, its numbers rounded to the nearest.

    Args:
        weight: The weight in the shape that a device stores, output channels first.
        quant: The precision.
        steps: The function that finds the steps.
    """
    blocks = quant.granularity.blocks(weight.shape)
    rows = to_rows(torch.from_numpy(weight), blocks)
    zero = zero_points(rows, quant.format)
    step = steps(rows, quant, zero)
    bounds = relative_bounds(quant.format, zero.unsqueeze(1))
    numbers = snapped(quant.format, rows / step.unsqueeze(1), bounds) + zero.unsqueeze(1)
    whole = from_rows(numbers, weight.shape, blocks)
    return encoded(whole, step, zero, quant=quant, shape=weight.shape)


def whole_range_steps(rows: Tensor, quant: Quant, zero_point: Tensor) -> Tensor:
    """The least steps `(r,)` at which no number of a row of `(r, n)` is clipped."""
    low, high = (
        torch.as_tensor(bound).to(rows).reshape(-1)
        for bound in relative_bounds(quant.format, zero_point)
    )
    above = torch.where(high > 0, rows.amax(1) / high, 0.0)
    below = torch.where(low < 0, rows.amin(1) / low, 0.0)
    step = torch.maximum(above, below)
    return snapped_scales(quant.scales, torch.where(step > 0, step, 1.0))
