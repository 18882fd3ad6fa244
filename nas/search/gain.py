"""How much hypervolume a network can be expected to add to a front whose costs are known.

Costs are exact before evaluation, so only the loss is uncertain. The dominated volume is the
integral, over cost budgets u, of reference loss minus the best loss within u. A candidate of cost c
adds the integral over u >= c of the expected improvement on best(u), which has a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from nas.search.front import nondominated
from predictors.warp import Warp

FloatArray = NDArray[np.float64]

_CELLS = 128
_MARGIN = 0.1
_BLOCK = 2048


@dataclass(frozen=True)
class Box:
    """The region that counts: from the least costs to the reference costs, below a loss."""

    low: FloatArray
    high: FloatArray
    loss: float


def bounding_box(costs: FloatArray, losses: FloatArray, ceiling: float) -> Box:
    """The box around the front below `ceiling`, a margin of a tenth added to its costs.

    Args:
        costs: Costs of the evaluated networks, `(n, objectives)`; none gives an empty box.
        losses: Their losses `(n,)`.
        ceiling: The loss beyond which a network is of no use.
    """
    if not len(losses):
        nothing = np.zeros(costs.shape[1])
        return Box(nothing, nothing, ceiling)
    front = nondominated(np.column_stack([losses, costs])) & (losses < ceiling)
    low, high = costs.min(axis=0), (costs[front] if front.any() else costs).max(axis=0)
    return Box(low, high + _MARGIN * (high - low), ceiling)


class Landscape:
    """The best loss within each cost budget, over a fixed set of budgets.

    With one cost the budgets are intervals, covered in part by a candidate within; with more they
    are quasi-random points of the box.

    Args:
        box: The region whose volume counts.
        warp: The map under which predicted losses are normal.
    """

    def __init__(self, box: Box, warp: Warp) -> None:
        self._warp = warp
        size = box.high - box.low
        if len(size) == 1:
            self._budgets = box.low + size * np.arange(_CELLS)[:, None] / _CELLS
            self._width = float(size[0]) / _CELLS
        else:
            unit = qmc.Sobol(len(size), rng=0).random(8 * _CELLS)
            self._budgets = box.low + size * unit
            self._width = 0.0
        self._ceiling = box.loss
        self.best = np.full(len(self._budgets), box.loss)

    def add(self, cost: FloatArray, loss: float) -> None:
        """Count a network of this cost `(objectives,)` and loss as evaluated."""
        share = self._cover(cost[None])[0]
        self.best -= share * np.maximum(self.best - loss, 0.0)

    def gains(self, costs: FloatArray, mean: FloatArray, spread: FloatArray) -> FloatArray:
        """The expected gain of each candidate alone, `(n,)`, as a share of the box.

        Args:
            costs: Exact costs, `(n, objectives)`.
            mean: Predicted mean of the warped loss, `(n,)`.
            spread: Its standard deviation, `(n,)`.
        """
        gains = np.empty(len(mean))
        height = max(self._ceiling - float(self.best.min()), 1e-12)
        for start in range(0, len(mean), _BLOCK):
            part = slice(start, start + _BLOCK)
            expected = self._warp.improvement(self.best, mean[part], spread[part])
            volume = np.einsum("ij,ij->i", self._cover(costs[part]), expected)
            gains[part] = volume / (height * len(self.best))
        return gains

    def _cover(self, costs: FloatArray) -> NDArray[np.float32]:
        """The share of each budget cell within reach of the costs, `(n, cells)`."""
        if self._width > 0:
            reach: FloatArray = (self._budgets[:, 0] + self._width - costs) / self._width
            return reach.clip(0, 1).astype(np.float32)
        within = np.all(costs[:, None] <= self._budgets, axis=2)
        return np.asarray(within, dtype=np.float32)
