"""Windows of a cost, and random subnets inside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import IntArray
from supernets.training.context import Cost

FloatArray = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], IntArray]

_POOL = 4096
_ENDS = (0.01, 0.99)
_TRIES = 256


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of equal width in the logarithm of a cost.

    The first window begins at the 1 % quantile of the cost of random subnets and the last ends at
    the 99 % quantile. Subnets beyond belong to the first or the last window. Subnets whose cost is
    not finite or not positive are drawn only if there is no other.

    Attributes:
        draw: A function that draws a number of random genotypes `(n, choices)`.
        cost: The cost of genotypes.
        edges: The logarithms of the costs between windows, ascending, `(windows + 1,)`.
    """

    draw: Draw
    cost: Cost
    edges: FloatArray

    @classmethod
    def spread(cls, draw: Draw, cost: Cost, count: int) -> Windows:
        """`count` windows for the cost of subnets that `draw` draws.

        Raises:
            ValueError: If none of many random subnets has a finite positive cost.
        """
        logs = _logarithms(cost(draw(np.random.default_rng(0), _POOL)))
        logs = logs[np.isfinite(logs)]
        if not len(logs):
            raise ValueError(
                f"none of {_POOL} random subnets has a finite positive cost, so that a sampler "
                "cannot draw subnets by their cost; choose the sampler 'sandwich', or a target "
                "that runs the networks of the space"
            )
        low, high = np.quantile(logs, _ENDS)
        return cls(draw, cost, np.linspace(low, high, count + 1))

    def of(self, rows: IntArray) -> NDArray[np.intp]:
        """The window of each genotype of `(n, choices)`, `(n,)`."""
        return np.searchsorted(self.edges[1:-1], _logarithms(self.cost(rows)), side="right")

    def drawn(self, rng: np.random.Generator, window: int, count: int) -> IntArray:
        """Random genotypes of a window, `(count, choices)`.

        A fixed number of subnets is drawn, of which the first inside the window are taken. Where
        there are too few, those of the nearest costs follow.
        """
        tried = self.draw(rng, max(_TRIES, count))
        logs = _logarithms(self.cost(tried))
        low, high = self._bounds(window)
        beyond = np.full(len(logs), np.inf)
        known = np.isfinite(logs)
        beyond[known] = np.maximum(0.0, np.maximum(low - logs[known], logs[known] - high))
        return tried[np.argsort(beyond, kind="stable")[:count]]

    def _bounds(self, window: int) -> tuple[float, float]:
        low = self.edges[window] if window else -np.inf
        high = self.edges[window + 1] if window < len(self.edges) - 2 else np.inf
        return float(low), float(high)


def _logarithms(cost: FloatArray) -> FloatArray:
    """The natural logarithms, which are not finite for costs that are not finite or positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(cost)
