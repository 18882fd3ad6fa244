"""Nondominated points and the volume that they dominate; every objective is minimised."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.problem.goals import Goal

FloatArray = NDArray[np.float64]


def nondominated(points: FloatArray) -> NDArray[np.bool_]:
    """Whether each of `points` `(n, objectives)` is dominated by no other point, `(n,)`.

    Of equal points, all are kept.
    """
    return np.asarray(moocore.is_nondominated(_matrix(points), keep_weakly=True), dtype=np.bool_)


def hypervolume(points: FloatArray, reference: FloatArray) -> float:
    """The exact volume between `points` `(n, objectives)` and `reference` `(objectives,)`.

    Points that are not better than the reference in every objective add nothing.
    """
    points, reference = _matrix(points), np.asarray(reference, dtype=np.float64)
    if points.shape[1:] != reference.shape:
        raise ValueError(
            f"points {points.shape} and reference {reference.shape} must share their objectives"
        )
    inside = points[(points < reference).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=reference)) if len(inside) else 0.0


def measured_front(
    goal: Goal, measured: Measurements, *, stopped: bool = False
) -> list[Evaluation]:
    """The evaluations within the limits of `goal` that no other evaluation dominates.

    They are sorted by cost, cheapest first. Of evaluations with equal loss and costs, only the
    first is kept. Evaluations that were stopped early count only with `stopped`.
    """
    measured = measured if stopped else measured[measured.complete]
    if not len(measured):
        return []
    goal = goal.answered(measured)
    points = np.column_stack([measured.losses, goal.values(measured.rows)])
    feasible = np.flatnonzero(goal.violation(measured.rows) == 0)
    front = feasible[nondominated(points[feasible])]
    _, first = np.unique(points[front], axis=0, return_index=True)
    distinct = front[np.sort(first)]
    order = distinct[np.argsort(points[distinct, 1], kind="stable")]
    return [measured.evaluations[place] for place in order]


def _matrix(points: FloatArray) -> FloatArray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"points are an array (n, objectives), given the shape {points.shape}")
    if np.isnan(points).any():
        raise ValueError("a point with NaN is neither better nor worse than another; drop it first")
    return points
