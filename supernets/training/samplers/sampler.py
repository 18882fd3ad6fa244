"""The base of samplers, which are the source of the subnets of each training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces.space import Genotype, SearchSpace
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.part import TrainingPart


@dataclass(frozen=True)
class Sandwich:
    """The subnets of a training step: the largest, random subnets, and the smallest."""

    largest: Genotype
    random: tuple[Genotype, ...]
    smallest: Genotype

    @property
    def students(self) -> tuple[Genotype, ...]:
        """The distinct subnets other than the largest, with the smallest last.

        Empty if the space has a single network.
        """
        bounds = (self.largest, self.smallest)
        between = tuple(g for g in dict.fromkeys(self.random) if g not in bounds)
        return between if self.smallest == self.largest else (*between, self.smallest)


class Sampler(TrainingPart):
    """Base of the samplers of subnets.

    Args:
        context: The training.
    """

    def __init__(self, context: TrainingContext) -> None:
        self.context = context
        self.space: SearchSpace = context.supernet.space

    def draw(self, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
        """The subnets of a step.

        Args:
            moment: The step.
            batch: The batch of the step, on which a sampler may measure losses.
            rng: The only source of random numbers, the same for a repeated step.
        """
        raise NotImplementedError(f"{type(self).__name__} must define draw")

    def tell(self, moment: Moment, subnets: Sandwich, losses: Sequence[float]) -> None:
        """Called after the step with the losses of the largest subnet and of all students."""

    def favoured(self) -> Genotype | None:
        """The subnet that the training has found best; None if the sampler does not search."""
        return None
