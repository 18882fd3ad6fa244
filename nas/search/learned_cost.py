"""Costs that only an evaluation can measure, predicted for all other networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Goal, Measured
from predictors.gaussian import gaussian
from predictors.order import LogCost
from predictors.predictor import Predictor
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]


class LearnedCost:
    """A cost function learned from evaluations, in place of a `Measured` cost of one searcher.

    Evaluated networks have their measured cost, other networks the predicted cost. Before the
    first evaluation, the value grows with the positions of the picked options, since options
    ascend in cost.

    Args:
        space: The space of the networks.
        metric: The name of the cost in `Evaluation.metrics`.
        predictor: The predictor of the cost; by default a Gaussian process.
    """

    def __init__(
        self, space: SearchSpace, metric: str, *, predictor: Predictor | None = None
    ) -> None:
        self._space = space
        self._metric = metric
        self._predictor = predictor or gaussian(space)
        self._fitted = 0
        draws = np.random.default_rng(0).integers(1, 1 << 62, size=len(space.choices))
        self._key = draws | 1  # rows are told apart by a 62-bit hash

    def fit(self, told: Measurements) -> None:
        """Learn the cost from all evaluations told; does nothing if none is new.

        Raises:
            ValueError: An evaluation lacks the cost.
        """
        if self._fitted < len(told):
            costs = told.metric(self._metric)
            self._predictor.fit(told.rows, costs)
            hashes = told.rows @ self._key
            order = np.argsort(hashes)
            self._hashes, self._costs = hashes[order], costs[order]
            self._fitted = len(told)

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of `(n, choices)` genotypes as `(n,)`, never negative."""
        if not self._fitted:
            picked = (genotypes + 1) * self._space.active_array(genotypes) / self._space.counts
            return picked.sum(axis=1) / max(1, picked.shape[1])
        costs = np.maximum(self._predictor.predict(genotypes)[0], 0.0)
        hashes = genotypes @ self._key
        place = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        return np.where(self._hashes[place] == hashes, self._costs[place], costs)


def log_costs(goals: Sequence[Goal]) -> list[LogCost]:
    """The logarithms of all cost objectives that are known before evaluations."""
    return [
        LogCost(goal.costs[name])
        for goal in goals
        for name in goal.objectives
        if not isinstance(goal.costs[name], Measured | LearnedCost)
    ]


def with_learned_costs(
    goals: Sequence[Goal], space: SearchSpace
) -> tuple[tuple[Goal, ...], Mapping[str, LearnedCost]]:
    """The goals with learned costs in place of `Measured` ones, and the learned costs by metric.

    Goals that measure the same metric share its learned cost.
    """
    names = {
        cost.metric for goal in goals for cost in goal.costs.values() if isinstance(cost, Measured)
    }
    learned = {name: LearnedCost(space, name) for name in sorted(names)}
    known = [
        {
            name: learned[cost.metric] if isinstance(cost, Measured) else cost
            for name, cost in goal.costs.items()
        }
        for goal in goals
    ]
    replaced = (replace(goal, costs=costs) for goal, costs in zip(goals, known, strict=True))
    return tuple(replaced), learned
