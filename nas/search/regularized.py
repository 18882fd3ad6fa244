"""Regularized evolution: the most recent networks survive, whether or not they are good."""

from __future__ import annotations

import numpy as np

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Problem
from nas.search.context import plain
from nas.search.points import Scalar, excess, points
from nas.search.proposer import Proposer
from search_spaces.space import IntArray

_TRIES = 4


class RegularizedEvolution(Proposer):
    """Aging evolution (Real et al. 2019, algorithm 1), with random weights in each tournament.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed; with the evaluations told, it determines all proposals.
        population: The number of most recent networks that may have children.
        sample: The number of networks in a tournament; the winner's child differs in one pick.
    """

    def __init__(
        self, problem: Problem, *, seed: int, population: int = 50, sample: int = 10
    ) -> None:
        super().__init__(problem, seed=seed, initial=population)
        self._population = population
        self._sample = sample

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """The children of tournament winners among the most recent networks, `(n, choices)`."""
        told = told[-self._population :]
        rows, found, beyond = told.rows, points(self.problem, told), excess(self.problem, told)
        parents = np.empty((_TRIES * count, rows.shape[1]), dtype=np.int64)
        for child in range(len(parents)):
            entrants = rng.choice(len(rows), size=min(self._sample, len(rows)), replace=False)
            worth = Scalar(found, rng)(found[entrants], beyond[entrants])
            parents[child] = rows[entrants[worth.argmin()]]
        return self.space.canonical_array(_one_changed(parents, self.space.counts, rng))


regularized = plain(RegularizedEvolution)


def _one_changed(rows: IntArray, counts: IntArray, rng: np.random.Generator) -> IntArray:
    """The rows `(n, choices)` with one random pick in each changed to another option."""
    place = rng.integers(0, rows.shape[1], size=len(rows))
    here = np.arange(len(rows)), place
    step = rng.integers(1, np.maximum(counts[place], 2))
    changed = rows.copy()
    changed[here] = (rows[here] + step) % counts[place]
    return changed
