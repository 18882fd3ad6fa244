"""LINAS, a published method: evolve on predictions, evaluate the last population, repeat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Goal, Problem
from nas.search.context import plain
from nas.search.inner import Effort, evolve, survivors
from nas.search.points import points
from nas.search.proposer import Proposer
from predictors.features import OneHot
from predictors.ridge import Ridge
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]


class Linas(Proposer):
    """The search method of DyNAS-T and SimQ-NAS (Cummings et al. 2022, section 3.2; Sridhar 2023).

    A round fits one ridge regression per objective, costs among them, to all evaluations. NSGA-II
    then runs on the predictions, from a random population, and its last population is evaluated.
    Unlike the original method, no network is proposed twice.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed; with the evaluations told, it determines all proposals.
        population: The number of networks per round.
        candidates: The number of networks that NSGA-II scores per round; the papers use 5,000 to
            20,000.
    """

    def __init__(
        self, problem: Problem, *, seed: int, population: int = 50, candidates: int = 10_000
    ) -> None:
        super().__init__(problem, seed=seed, initial=population)
        rounds = max(1, candidates // population)
        self._effort = Effort(population, rounds, brood=1, tournament=2)
        self._features = OneHot(problem.space)  # the papers use only the one-hot part
        self._waiting = np.empty((0, len(problem.space.choices)), dtype=np.int64)

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """The unseen rest of the last population; the population of a new round if it is empty."""
        left = np.array(self._ledger.fresh(self._waiting), dtype=np.int64)
        if len(left):
            return left
        rows = told.rows
        models = [self._model(rows, column) for column in points(self.problem, told).T]
        goal = Goal(
            "predicted",
            {str(number): model for number, model in enumerate(models[1:])},
            tuple(map(str, range(len(models) - 1))),
        )
        found, scores = evolve(
            self.space, goal, models[0], seeds=rows[:0], effort=self._effort, rng=rng
        )
        self._waiting = found[survivors(scores, self._effort.population)]
        return self._waiting

    def _model(self, rows: IntArray, values: FloatArray) -> Callable[[IntArray], FloatArray]:
        model = Ridge(lambda asked: self._features(asked)[:, self._features.parts[0]])
        model.fit(rows, values)
        return lambda asked: model.predict(asked)[0]


linas = plain(Linas)
