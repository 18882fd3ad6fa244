"""Local search: evaluate the neighbours of the best networks, and repeat from the new best."""

from __future__ import annotations

import numpy as np

from nas.evaluation.measurements import Measurements
from nas.problem.front import nondominated
from nas.problem.goals import Problem
from nas.search.context import plain
from nas.search.points import excess, points
from nas.search.polish import mutants
from nas.search.proposer import Proposer
from search_spaces.space import IntArray


class LocalSearch(Proposer):
    """A searcher that proposes networks one pick away from the present front, in random order.

    With one objective, the method is that of White et al. 2021; with several, all members of the
    front have their neighbours proposed (Pareto local search, Paquete et al. 2004). Where no
    neighbour is left, random networks are proposed.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed; with the evaluations told, it determines all proposals.
        initial: The number of random networks that are proposed first.
    """

    def __init__(self, problem: Problem, *, seed: int, initial: int = 10) -> None:
        super().__init__(problem, seed=seed, initial=initial)

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """The neighbours of all members of the front, in random order, `(n, choices)`."""
        within = (excess(self.problem, told) == 0).any(axis=1)
        told = told[within] if within.any() else told
        front = told.rows[nondominated(points(self.problem, told))]
        near = mutants(front, self.space)
        return near[rng.permutation(len(near))]


local = plain(LocalSearch)
