"""The expected gain in hypervolume from evaluating a network whose costs are known.

Costs are exact before evaluation, so only the loss is uncertain. The dominated volume is the
integral, over cost budgets u, of the reference loss minus the best loss within u. A candidate of
cost c adds the integral, over u >= c, of the expected improvement on the best loss within u. The
expected improvement has a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from nas.problem.front import nondominated

FloatArray = NDArray[np.float64]

_POINTS = 1024
_MARGIN = 0.1


@dataclass(frozen=True)
class Box:
    """The region in which volume counts: from least to reference costs, below a reference loss."""

    low: FloatArray
    high: FloatArray
    loss: float


def bounding_box(costs: FloatArray, losses: FloatArray, ceiling: float) -> Box:
    """The box around the front below `ceiling`, with a margin of a tenth added to its costs.

    Args:
        costs: Costs of the evaluated networks, `(n, objectives)`; without rows, the box is empty.
        losses: Losses of the evaluated networks, `(n,)`.
        ceiling: The loss above which a network is of no use.
    """
    if not len(losses):
        nothing = np.zeros(costs.shape[1])
        return Box(nothing, nothing, ceiling)
    front = nondominated(np.column_stack([losses, costs])) & (losses < ceiling)
    low, high = costs.min(axis=0), (costs[front] if front.any() else costs).max(axis=0)
    return Box(low, high + _MARGIN * (high - low), ceiling)


class Landscape(Protocol):
    """The best loss within each cost budget of a box.

    Attributes:
        ceiling: The loss above which nothing counts.
        levels: The distinct best losses, `(levels,)`, ascending.
    """

    ceiling: float
    levels: FloatArray

    def add(self, cost: FloatArray, loss: float) -> None:
        """Count a network of this cost `(objectives,)` and loss as evaluated."""
        ...

    def volumes(self, costs: FloatArray) -> FloatArray:
        """The share of the box at each level where budgets allow `costs`, `(n, levels)`.

        Args:
            costs: `(n, objectives)`.
        """
        ...


def landscape(box: Box) -> Landscape:
    """The empty landscape of `box`: exact for one cost, with quasi-random budgets for more."""
    size = box.high - box.low
    return Staircase(box) if len(size) == 1 and size[0] > 0 else Points(box)


def gains(land: Landscape, costs: FloatArray, expected: FloatArray) -> FloatArray:
    """The expected gain of each candidate alone, `(n,)`, as a share of the box.

    Args:
        land: The landscape of the present front.
        costs: Exact costs of the candidates, `(n, objectives)`.
        expected: The expected improvement of each candidate on each level of the landscape,
            `(n, levels)`.
    """
    height = max(land.ceiling - float(land.levels[0]), 1e-12)
    return np.einsum("ij,ij->i", land.volumes(costs), expected) / height


class Staircase:
    """The landscape of one cost: its budgets are the intervals between the costs of the front."""

    def __init__(self, box: Box) -> None:
        self._edges = np.array([box.low[0], box.high[0]])
        self._best = np.array([box.loss])
        self.levels = self._best
        self.ceiling = box.loss

    def add(self, cost: FloatArray, loss: float) -> None:
        """Count a network of this cost `(1,)` and loss as evaluated."""
        edges, best = self._edges, self._best
        position = int(np.searchsorted(edges, cost[0]))
        if position == len(edges) or loss >= best[max(position - 1, 0)]:
            return
        if position > 0 and edges[position] > cost[0]:
            edges = np.insert(edges, position, cost[0])
            best = np.insert(best, position, best[position - 1])
        best[position:] = np.minimum(best[position:], loss)
        # The best loss falls along the budgets, so equal levels are neighbours.
        kept = np.diff(best, prepend=np.inf) < 0
        self._edges, self._best = edges[np.append(kept, True)], best[kept]
        self.levels = self._best[::-1]

    def volumes(self, costs: FloatArray) -> FloatArray:
        """The share of the box at each level that allows `costs` `(n, 1)`: `(n, levels)`."""
        reach = np.clip(self._edges[1:] - costs, 0, np.diff(self._edges))
        return reach[:, ::-1] / (self._edges[-1] - self._edges[0])


class Points:
    """The landscape of several costs: its budgets are quasi-random (Sobol) points of the box."""

    def __init__(self, box: Box) -> None:
        size = box.high - box.low
        self._budgets = box.low + size * qmc.Sobol(len(size), rng=0).random(_POINTS)
        self._settle(np.full(_POINTS, box.loss))
        self.ceiling = box.loss

    def _settle(self, best: FloatArray) -> None:
        self._best = best
        self.levels, level = np.unique(best, return_inverse=True)
        self._member = np.eye(len(self.levels), dtype=np.float32)[level] / _POINTS

    def add(self, cost: FloatArray, loss: float) -> None:
        """Count a network of this cost `(objectives,)` and loss as evaluated."""
        within = np.all(cost <= self._budgets, axis=1)
        self._settle(np.where(within, np.minimum(self._best, loss), self._best))

    def volumes(self, costs: FloatArray) -> FloatArray:
        """The share of budgets at each level that allow `costs` `(n, objectives)`.

        Returns:
            `(n, levels)`.
        """
        within = np.all(costs[:, None] <= self._budgets, axis=2)
        return (within.astype(np.float32) @ self._member).astype(np.float64)
