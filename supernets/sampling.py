"""Which subnets a training step updates: the sandwich of Yu & Huang 2019, section 3.2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search_spaces.space import Genotype, SearchSpace


@dataclass(frozen=True)
class Sandwich:
    """The subnets of one step: the bounds of the space around some drawn between them."""

    largest: Genotype
    random: tuple[Genotype, ...]
    smallest: Genotype


def sandwich(space: SearchSpace, rng: np.random.Generator, *, random: int) -> Sandwich:
    """The largest and the smallest subnet of `space` and `random` ones, every choice uniform."""
    drawn = tuple(space.sample(rng) for _ in range(random))
    return Sandwich(space.largest, drawn, space.smallest)
