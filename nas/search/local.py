"""Local search: all neighbours of the best, then of the best among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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

    def ideas(
        self, rng: np.random.Generator, rows: IntArray, losses: NDArray[np.float64], count: int
    ) -> IntArray:
        """Neighbours of the front, those of one member after the other."""
        within = (excess(self.problem, rows) == 0).any(axis=1)
        rows, losses = (rows[within], losses[within]) if within.any() else (rows, losses)
        front = rows[nondominated(points(self.problem, rows, losses))]
        near = mutants(front, self.space)
        return near[rng.permutation(len(near))]
