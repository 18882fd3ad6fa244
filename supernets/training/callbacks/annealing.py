"""In the end only weights near a threshold of their rounding learn."""

from __future__ import annotations

import torch
from torch import Tensor

from supernets.quantizers.grid import Grid
from supernets.training.callbacks.callback import Callback
from supernets.training.callbacks.oscillation import coarse_weights
from supernets.training.context import Moment, TrainingContext

_RANGE = 0.005  # of a distance on the grid, in the code of OFQ
_TAIL = 1 / 11  # of the quantized phase: OFQ trains 300 epochs, then 30 so


class Annealing(Callback):
    """Confidence-guided annealing (Liu et al. 2023, "Oscillation-free quantization", section 4.2).

    In the last eleventh of the quantized phase, only those elements of weights learn that lie
    within 0.005 of a threshold of rounding, in units of the distance of two values. All others are
    sure of their integer: their gradient is zeroed and, since momentum and decay would still move
    them, their values are restored after the update. Which elements are sure is asked anew in every
    step.

    Every weight with a precision of 3 bits or fewer is judged by its integer at the fewest bits
    (see `oscillation`); weights of more bits alone, and all steps, learn as before. With the
    quantizer `double-rounding`, thresholds are those of a single rounding.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._coarse = coarse_weights(context.supernet)
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def before_update(self, moment: Moment) -> None:
        self._held = []
        if not moment.quantized or moment.phase_share < 1 - _TAIL:
            return
        for one in self._coarse:
            sure = ~is_near(one.weight, one.grid(), within=_RANGE)
            if one.weight.grad is not None:
                one.weight.grad.masked_fill_(sure, 0.0)
            self._held.append((one.weight, sure, one.weight.clone()))

    @torch.no_grad()
    def after_update(self, moment: Moment) -> None:
        for weight, sure, before in self._held:
            weight.copy_(torch.where(sure, before, weight))


def is_near(weight: Tensor, grid: Grid, *, within: float) -> Tensor:
    """Whether each element lies near a threshold between two integers of the grid.

    Args:
        weight: The weight.
        grid: The grid.
        within: The largest distance, in units of the distance of two values.
    """
    position = grid.position(weight)
    threshold = (position.floor() + 0.5).clamp(grid.low + 0.5, grid.high - 0.5)
    return (position - threshold).abs() <= within
