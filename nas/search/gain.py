"""The expected gain in hypervolume from evaluating a network whose costs are known.

Costs are exact before evaluation, so only the loss is uncertain. The dominated volume is the
integral, over cost budgets u, of the reference loss minus the best loss within u. A candidate of
cost c adds the integral, over u >= c, of the expected improvement on the best loss within u. The
expected improvement has a closed form.
"""

from __future__ import annotations

import functools
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
        costs: Costs of networks, `(n, objectives)`; without rows, the box is empty.
        losses: Losses of these networks, `(n,)`.
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

    def volumes(self, costs: FloatArray) -> FloatArray:
        """The share of the box at each level where budgets allow `costs`, `(n, levels)`.

        Args:
            costs: `(n, objectives)`.
        """
        ...


def landscape(box: Box, costs: FloatArray, losses: FloatArray) -> Landscape:
    """The landscape of `box` and of the evaluated networks.

    It is exact for one cost, and has quasi-random budgets for more.

    Args:
        box: The region in which volume counts.
        costs: Costs of the evaluated networks, `(n, objectives)`.
        losses: Losses of the evaluated networks, `(n,)`.
    """
    front = nondominated(np.column_stack([losses, costs]))
    size = box.high - box.low
    kind = Staircase if len(size) == 1 and size[0] > 0 else Points
    return kind(box, costs[front], losses[front])


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
    """The landscape of one cost: its budgets are the intervals between the costs of the front.

    Args:
        box: The region in which volume counts.
        costs: Costs of networks that no other one dominates, `(n, 1)`.
        losses: Losses of these networks, `(n,)`.
    """

    def __init__(self, box: Box, costs: FloatArray, losses: FloatArray) -> None:
        self.ceiling = box.loss
        cost = np.maximum(costs[:, 0], box.low[0])
        order = np.lexsort((losses, cost))
        cost, loss = cost[order], losses[order]
        best = np.minimum.accumulate(np.minimum(loss, box.loss))
        kept = (np.diff(best, prepend=box.loss) < 0) & (cost < box.high[0])
        self._edges = np.concatenate([box.low, cost[kept], box.high])
        self.levels = np.concatenate([[box.loss], best[kept]])[::-1]

    def volumes(self, costs: FloatArray) -> FloatArray:
        """The share of the box at each level that allows `costs` `(n, 1)`: `(n, levels)`."""
        reach = np.clip(self._edges[1:] - costs, 0, np.diff(self._edges))
        return reach[:, ::-1] / (self._edges[-1] - self._edges[0])


class Points:
    """The landscape of several costs: its budgets are quasi-random (Sobol) points of the box.

    Args:
        box: The region in which volume counts.
        costs: Costs of networks that no other one dominates, `(n, objectives)`.
        losses: Losses of these networks, `(n,)`.
    """

    def __init__(self, box: Box, costs: FloatArray, losses: FloatArray) -> None:
        size = box.high - box.low
        self._budgets = box.low + size * _unit_budgets(len(size))
        within = _within(costs, self._budgets)
        best = np.where(within, losses[:, None], box.loss).min(axis=0, initial=box.loss)
        self.ceiling = box.loss
        self.levels, level = np.unique(best, return_inverse=True)
        self._member = np.eye(len(self.levels), dtype=np.float32)[level] / _POINTS

    def volumes(self, costs: FloatArray) -> FloatArray:
        """The share of budgets at each level that allow `costs` `(n, objectives)`.

        Returns:
            `(n, levels)`.
        """
        within = _within(costs, self._budgets)
        return (within.astype(np.float32) @ self._member).astype(np.float64)


def _within(costs: FloatArray, budgets: FloatArray) -> NDArray[np.bool_]:
    """Whether each of `costs` `(n, objectives)` is within each of the budgets: `(n, budgets)`."""
    result = np.ones((len(costs), len(budgets)), dtype=np.bool_)
    for cost, budget in zip(costs.T, budgets.T, strict=True):
        result &= cost[:, None] <= budget
    return result


@functools.cache
def _unit_budgets(costs: int) -> FloatArray:
    """Quasi-random points of the unit cube, `(points, costs)`."""
    return qmc.Sobol(costs, rng=0).random(_POINTS)
