"""Local search: all neighbours of the best, then of the best among them."""

from __future__ import annotations

import numpy as np

from nas.evaluation.measurements import Measurements
from nas.problem.front import nondominated
from nas.problem.goals import Problem
from nas.search.points import excess, points
from nas.search.polish import mutants
from nas.search.proposer import Proposer
from search_spaces.space import IntArray


class LocalSearch(Proposer):
    """Evaluates what is one pick away from the present front, in random order.

    White et al. 2021 for one objective; with several, every member of the front is a local best
    (Pareto local search, Paquete et al. 2004). Begins anew at random where no neighbour is left.

    Args:
        problem: What to search, and for what.
        seed: Fixes the sequence.
        initial: Random networks to begin with.
    """

    def __init__(self, problem: Problem, *, seed: int, initial: int = 10) -> None:
        super().__init__(problem, seed=seed, initial=initial)

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """Neighbours of the front, those of one member after the other."""
        within = (excess(self.problem, told.rows) == 0).any(axis=1)
        told = told[within] if within.any() else told
        front = told.rows[nondominated(points(self.problem, told))]
        near = mutants(front, self.space)
        return near[rng.permutation(len(near))]
