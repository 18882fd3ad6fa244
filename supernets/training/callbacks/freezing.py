"""Weights whose rounding oscillates keep their integer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from supernets.quantizers.grid import Grid
from supernets.training.callbacks.callback import Callback
from supernets.training.callbacks.oscillation import annealed, coarse_weights
from supernets.training.context import Moment, TrainingContext

_MOMENTUM = 0.01
_FIRST, _LAST = 0.1, 0.011  # the threshold of the frequency, in the authors' code for 3 bits
_HALF = 0.49  # of a distance on the grid, up to which a frozen element may leave its integer


@dataclass(eq=False)
class Followed:
    """What is remembered of each element of a weight.

    Attributes:
        number: The integer after the last step.
        mean: The exponential average of the integer.
        direction: The sign of the last change of the integer; 0 before the first.
        frequency: The exponential average of oscillations per step.
        frozen: Whether the integer may not change any more.
    """

    number: Tensor
    mean: Tensor
    direction: Tensor
    frequency: Tensor
    frozen: Tensor

    @classmethod
    def like(cls, weight: Tensor) -> Followed:
        """The memory for a weight, all zero."""
        zeros = [torch.zeros_like(weight, requires_grad=False) for _ in range(4)]
        return cls(*zeros, frozen=torch.zeros_like(zeros[0], dtype=torch.bool))

    def begin(self, numbers: Tensor) -> None:
        """Forget all and start with these integers."""
        for tensor in (self.direction, self.frequency, self.frozen):
            tensor.zero_()
        self.number.copy_(numbers)
        self.mean.copy_(numbers)

    def follow(self, numbers: Tensor, threshold: float | None) -> None:
        """Count a step after which the elements that are not frozen have these integers.

        Args:
            numbers: The integers.
            threshold: The frequency above which an element is frozen; None to freeze none.
        """
        numbers = torch.where(self.frozen, self.number, numbers)
        change = (numbers - self.number).sign()
        oscillated = change * self.direction == -1
        self.frequency.lerp_(oscillated.to(self.frequency), _MOMENTUM)
        self.direction.copy_(torch.where(change == 0, self.direction, change))
        if threshold is not None:
            more = (self.frequency > threshold) & ~self.frozen
            numbers = torch.where(more, self.mean.round(), numbers)
            self.frozen |= more
        self.number.copy_(numbers)
        self.mean.lerp_(numbers, _MOMENTUM)

    def held(self, weight: Tensor, grid: Grid) -> Tensor:
        """The weight, in which every frozen element is moved to where it has its integer."""
        low = torch.where(self.number > grid.low, self.number - _HALF, -torch.inf)
        high = torch.where(self.number < grid.high, self.number + _HALF, torch.inf)
        position = grid.position(weight)
        # Elements that need not move keep their bits.
        moves = self.frozen & ((position < low) | (position > high))
        return torch.where(moves, grid.values(position.clamp(low, high)), weight)


class Freezing(Callback):
    """Iterative freezing of oscillating weights (Nagel et al. 2022, section 4.3, algorithm 1).

    An element oscillates in a step if its integer changes against the direction of its last change.
    Once the exponential average of these events, with momentum 0.01, exceeds a threshold, the
    element keeps the integer that is nearest to its average until the end. The threshold falls from
    0.1 to 0.011 over the last three quarters of the quantized phase; nothing is frozen before.

    Every weight with a precision of 3 bits or fewer is followed by its integer at the fewest bits
    (see `oscillation`). In the source, a frozen element is its integer times the step. Here, it
    may move as long as this integer stays, so that the precisions of more bits still learn.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._coarse = coarse_weights(context.supernet)
        self._followed = [Followed.like(one.weight) for one in self._coarse]

    def before_step(self, moment: Moment) -> None:
        if moment.step == moment.plan.float_steps:
            for one, followed in zip(self._coarse, self._followed, strict=True):
                followed.begin(one.grid().numbers(one.weight.detach()))

    @torch.no_grad()
    def after_update(self, moment: Moment) -> None:
        if not moment.quantized:
            return
        threshold = annealed(moment.phase_share, _FIRST, _LAST)
        for one, followed in zip(self._coarse, self._followed, strict=True):
            grid = one.grid()
            followed.follow(grid.numbers(one.weight), threshold)
            one.weight.copy_(followed.held(one.weight, grid))

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{one.address}.{name}": tensor
            for one, followed in zip(self._coarse, self._followed, strict=True)
            for name, tensor in vars(followed).items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
