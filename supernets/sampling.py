"""The sandwich rule, which picks the subnets of a training step (Yu & Huang 2019, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search_spaces.space import Genotype, SearchSpace


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


def sandwich(space: SearchSpace, rng: np.random.Generator, *, random: int) -> Sandwich:
    """The largest and the smallest subnet of `space`, and `random` subnets with uniform choices."""
    drawn = tuple(space.sample(rng) for _ in range(random))
    return Sandwich(space.largest, drawn, space.smallest)
