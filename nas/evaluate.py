"""A true evaluation: what was measured of one subnet, and who measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from search_spaces.space import Genotype


@dataclass(frozen=True)
class Evaluation:
    """What one subnet measured; every metric is a loss, smaller is better.

    Attributes:
        genotype: The subnet, in canonical form.
        metrics: At least `error`: wrong answers on the validation split, in percent.
        seed: The seed of the run it was measured in.
        seconds: Wall time it took.
        where: Host, process and device that measured it.
    """

    genotype: Genotype
    metrics: Mapping[str, float]
    seed: int
    seconds: float
    where: str


class Evaluator(Protocol):
    """Measures subnets; a pure function of the genotype, whatever the order or the place."""

    def __call__(self, genotypes: Sequence[Genotype]) -> list[Evaluation]:
        """One evaluation per genotype, in their order."""
        ...
