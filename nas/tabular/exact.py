"""Exact Pareto fronts of spaces that are small enough to enumerate, to judge searches by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.problem.front import hypervolume, nondominated
from nas.problem.goals import ArrayCost, Goal
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
LARGEST_LISTED = 1 << 24
_BLOCK = 1 << 19
_QUANTILE = 0.75
_MARGIN = 0.1


@dataclass(frozen=True, eq=False)
class ExactFront:
    """The exact Pareto front of a space, the best result that any search can have.

    Attributes:
        genotypes: The networks that no other network dominates, `(n, choices)`, cheapest first.
        points: The loss and the cost objectives of these networks, `(n, 1 + objectives)`.
        reference: A tight reference point, `(1 + objectives,)`. Its loss is the 75 % quantile of
            all networks that can be built. Its costs are the largest costs among the networks of
            the front with a smaller loss, plus a tenth of the range of these costs.
        volume: The hypervolume of the front for `reference`.
        corner: A loose reference point: the largest loss and costs of all networks.
        corner_volume: The hypervolume of the front for `corner`.
    """

    genotypes: IntArray
    points: FloatArray
    reference: FloatArray
    volume: float
    corner: FloatArray
    corner_volume: float

    def share(self, points: FloatArray) -> float:
        """The share of the front's hypervolume that points reach, from 0 to 1.

        Args:
            points: Loss and cost objectives, `(n, 1 + objectives)`.
        """
        return hypervolume(points, self.reference) / self.volume if self.volume else 1.0


def is_listable(space: SearchSpace) -> bool:
    """Whether all combinations of options of a space are few enough to enumerate."""
    return float(np.prod(space.counts.astype(np.float64))) <= LARGEST_LISTED


def exact_front(space: SearchSpace, goal: Goal, loss: ArrayCost) -> ExactFront:
    """The exact front of all networks of `space` within the limits of `goal`.

    Args:
        space: The space.
        goal: Cost objectives and limits.
        loss: The loss of genotypes, `(n, choices)` to `(n,)`.

    Raises:
        ValueError: If there are too many networks to enumerate, or none is within the limits.
    """
    if not is_listable(space):
        raise ValueError(
            f"space {space.name!r} has {space.size:.3g} networks; an exact front needs them "
            f"listed, which is done up to {LARGEST_LISTED:,} combinations of options"
        )
    front, points, losses = np.empty((0, len(space.counts)), dtype=np.int64), None, []
    corner = np.full(1 + len(goal.objectives), -np.inf)
    for rows in _blocks(space):
        values, excess = goal.assess(rows)
        found = np.column_stack([loss(rows), values])
        built = np.isfinite(values).all(axis=1)
        losses.append(found[built, 0])
        corner = np.maximum(corner, found[built].max(axis=0, initial=-np.inf))
        within = excess == 0
        front = np.concatenate([front, rows[within]])
        points = found[within] if points is None else np.concatenate([points, found[within]])
        kept = nondominated(points)
        front, points = front[kept], points[kept]
    if points is None or not len(points):
        raise ValueError(f"no network of space {space.name!r} is within {dict(goal.limits)}")
    order = np.argsort(points[:, 1], kind="stable")
    front, points = front[order], points[order]
    reference = _tight(points, float(np.quantile(np.concatenate(losses), _QUANTILE)))
    return ExactFront(
        front,
        points,
        reference,
        hypervolume(points, reference),
        corner,
        hypervolume(points, corner),
    )


def _tight(points: FloatArray, loss: float) -> FloatArray:
    good = points[:, 0] < loss
    costs = points[good if good.any() else slice(None), 1:]
    return np.concatenate([[loss], costs.max(axis=0) + _MARGIN * np.ptp(costs, axis=0)])


def grid_strides(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distance of neighbouring options of each choice in the list of all combinations.

    The list is in lexicographic order; the result has the shape `(choices,)`.
    """
    return np.cumprod([1, *counts[:0:-1]], dtype=np.int64)[::-1][: len(counts)]


def _blocks(space: SearchSpace) -> Iterator[IntArray]:
    """All canonical genotypes in blocks of rows, in lexicographic order."""
    strides, combinations = grid_strides(space.counts), int(np.prod(space.counts))
    for start in range(0, combinations, _BLOCK):
        flat = np.arange(start, min(start + _BLOCK, combinations))
        rows = flat[:, None] // strides % space.counts
        rows = rows[(space.canonical_array(rows) == rows).all(axis=1)]
        if len(rows):
            yield rows
