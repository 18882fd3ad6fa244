"""The sandwich rule with uniform choices."""

from __future__ import annotations

import numpy as np

from search_spaces.space import SearchSpace
from supernets.training.context import Batch, Moment
from supernets.training.samplers.sampler import Sampler, Sandwich


class UniformSandwich(Sampler):
    """The sandwich rule (Yu & Huang 2019, section 3.2): random subnets with uniform choices."""

    def draw(self, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
        return sandwich(self.space, rng, random=self.context.settings.random_subnets)


def sandwich(space: SearchSpace, rng: np.random.Generator, *, random: int) -> Sandwich:
    """The largest and the smallest subnet of `space`, and `random` subnets with uniform choices."""
    drawn = tuple(space.sample(rng) for _ in range(random))
    return Sandwich(space.largest, drawn, space.smallest)
