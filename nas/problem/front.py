"""Nondominated points and the volume that they dominate; every objective is minimised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.problem.goals import Goal

FloatArray = NDArray[np.float64]

_BLOCK = 1 << 22


def nondominated(points: FloatArray) -> NDArray[np.bool_]:
    """Whether each of `points` `(n, objectives)` is dominated by no other point, `(n,)`.

    Of equal points, all are kept.
    """
    points = _matrix(points)
    if points.shape[1] == 2:
        return _nondominated_pairs(points)
    mask = np.ones(len(points), dtype=np.bool_)
    step = max(1, _BLOCK // max(1, points.size))
    for start in range(0, len(points), step):
        block = points[start : start + step, None]
        dominates = (points <= block).all(axis=2) & (points < block).any(axis=2)
        mask[start : start + step] = np.logical_not(np.any(dominates, axis=1))
    return mask


def _nondominated_pairs(points: FloatArray) -> NDArray[np.bool_]:
    order = np.lexsort((points[:, 1], points[:, 0]))
    first, second = points[order].T
    best = np.minimum.accumulate(np.concatenate([[np.inf], second[:-1]]))
    # Of equal points the first one found decides; lexsort has put them side by side.
    repeats = np.zeros(len(points), dtype=np.bool_)
    repeats[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    kept = second < best
    run = np.cumsum(~repeats) - 1
    mask = np.empty(len(points), dtype=np.bool_)
    mask[order] = kept[~repeats][run]
    return mask


def hypervolume(points: FloatArray, reference: FloatArray) -> float:
    """The volume between `points` `(n, objectives)` and `reference` `(objectives,)`.

    Points that are not better than the reference in every objective add nothing. The result is
    exact. The method slices along the last objective, so it is meant for fronts of a few hundred
    points and few objectives.
    """
    points, reference = _matrix(points), np.asarray(reference, dtype=np.float64)
    if points.shape[1:] != reference.shape:
        raise ValueError(
            f"points {points.shape} and reference {reference.shape} must share their objectives"
        )
    inside = np.unique(points[(points < reference).all(axis=1)], axis=0)
    return _volume(inside[nondominated(inside)], reference)


def _volume(front: FloatArray, reference: FloatArray) -> float:
    if not len(front):
        return 0.0
    if front.shape[1] == 1:
        return float(reference[0] - front.min())
    order = np.argsort(front[:, -1], kind="stable")
    front, levels = front[order], front[order, -1]
    heights = np.diff(levels, append=reference[-1])
    if front.shape[1] == 2:
        return float(heights @ (reference[0] - np.minimum.accumulate(front[:, 0])))
    volume = 0.0
    for position in np.flatnonzero(heights > 0):
        below = front[: position + 1, :-1]
        volume += heights[position] * _volume(below[nondominated(below)], reference[:-1])
    return float(volume)


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
