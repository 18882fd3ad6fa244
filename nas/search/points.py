"""Evaluated networks as points: the loss beside every goal's cost objectives, all minimised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Problem

FloatArray = NDArray[np.float64]

UNREACHABLE = 1e12


def points(problem: Problem, measured: Measurements) -> FloatArray:
    """The loss and all goals' cost objectives of each network, `(n, 1 + cost objectives)`.

    A network that a device cannot run costs `UNREACHABLE` there.
    """
    goals = [goal.answered(measured) for goal in problem.goals]
    costs = [goal.values(measured.rows) for goal in goals]
    return np.minimum(np.column_stack([measured.losses, *costs]), UNREACHABLE)


def excess(problem: Problem, measured: Measurements) -> FloatArray:
    """The relative excess of each network over the limits of each goal, `(n, goals)`; 0 within."""
    goals = [goal.answered(measured) for goal in problem.goals]
    beyond = np.stack([goal.violation(measured.rows) for goal in goals], axis=1)
    return np.minimum(beyond, UNREACHABLE)


class Scalar:
    """A scalar loss of points: the augmented Tchebycheff norm under random weights.

    The norm is that of Knowles 2006 (ParEGO), equation 2, on objectives scaled to their ranges.
    Ten times the excess over the limits is added.

    Args:
        found: Points `(n, objectives)` that set the ranges.
        rng: The source of the weights, which are uniform on the simplex.
    """

    def __init__(self, found: FloatArray, rng: np.random.Generator) -> None:
        reachable = np.where(found < UNREACHABLE, found, np.nan)
        with np.errstate(all="ignore"):
            low, high = np.nanmin(reachable, axis=0), np.nanmax(reachable, axis=0)
        self._low = np.nan_to_num(low)
        self._range = np.maximum(np.nan_to_num(high) - self._low, 1e-12)
        self._weights = rng.dirichlet(np.ones(found.shape[1]))

    def __call__(self, found: FloatArray, beyond: FloatArray) -> FloatArray:
        """The scalar loss `(n,)` of points `(n, objectives)` with their `excess` `(n, goals)`."""
        weighted = self._weights * np.minimum((found - self._low) / self._range, 10.0)
        return weighted.max(axis=1) + 0.05 * weighted.sum(axis=1) + 10 * beyond.min(axis=1)
