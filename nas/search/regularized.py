"""Regularized evolution: the youngest survive, whatever they are worth."""

from __future__ import annotations

import numpy as np

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Problem
from nas.search.points import Scalar, excess, points
from nas.search.proposer import Proposer
from search_spaces.space import IntArray

_TRIES = 4


class RegularizedEvolution(Proposer):
    """Aging evolution (Real et al. 2019, algorithm 1), each tournament under weights of its own.

    Args:
        problem: What to search, and for what.
        seed: Fixes the sequence.
        population: How many of the youngest may have children.
        sample: How many enter a tournament; the winner's child differs in one pick.
    """

    def __init__(
        self, problem: Problem, *, seed: int, population: int = 50, sample: int = 10
    ) -> None:
        super().__init__(problem, seed=seed, initial=population)
        self._population = population
        self._sample = sample

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """Children of tournament winners among the youngest."""
        told = told[-self._population :]
        rows, found, beyond = told.rows, points(self.problem, told), excess(self.problem, told.rows)
        parents = np.empty((_TRIES * count, rows.shape[1]), dtype=np.int64)
        for child in range(len(parents)):
            entrants = rng.choice(len(rows), size=min(self._sample, len(rows)), replace=False)
            worth = Scalar(found, rng)(found[entrants], beyond[entrants])
            parents[child] = rows[entrants[worth.argmin()]]
        return self.space.canonical_array(_one_changed(parents, self.space.counts, rng))


def _one_changed(rows: IntArray, counts: IntArray, rng: np.random.Generator) -> IntArray:
    """`rows` with one pick of each moved to another option."""
    place = rng.integers(0, rows.shape[1], size=len(rows))
    here = np.arange(len(rows)), place
    step = rng.integers(1, np.maximum(counts[place], 2))
    changed = rows.copy()
    changed[here] = (rows[here] + step) % counts[place]
    return changed
