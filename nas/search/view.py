"""What the goals of a search see of its evaluated networks and of the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import Goal
from nas.search.gain import Landscape, bounding_box, gains, landscape
from predictors.warp import Warp
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]

_BLOCK = 2_048


@dataclass(frozen=True)
class View:
    """The costs of evaluated networks and of candidates, for one goal.

    Attributes:
        known: Costs of the evaluated networks within the limits, `(m, objectives)`.
        losses: Losses of these networks, `(m,)`.
        costs: Costs of the candidates, `(n, objectives)`.
        within: Whether each candidate is within the limits of the goal, `(n,)`.
    """

    known: FloatArray
    losses: FloatArray
    costs: FloatArray
    within: NDArray[np.bool_]

    @classmethod
    def of(cls, goal: Goal, rows: IntArray, losses: FloatArray, *, pool: IntArray) -> View:
        """The view of `goal`.

        Args:
            goal: The goal.
            rows: The evaluated networks, `(m, choices)`.
            losses: Their losses, `(m,)`.
            pool: The candidates, `(n, choices)`.
        """
        known, excess = goal.assess(rows)
        costs, beyond = goal.assess(pool)
        return cls(known[excess == 0], losses[excess == 0], costs, beyond == 0)

    def landscape(self, warp: Warp, promise: FloatArray, ceiling: float) -> Landscape:
        """The landscape of the evaluated networks, as far as the front may come to reach.

        The region in which volume counts is that of the front which evaluated networks and
        candidates would have if all promises came true. The front of the evaluated networks alone
        would not do: a cheap network that is good by luck would shut out all that is dearer.

        Args:
            warp: The map of losses to which the promises belong.
            promise: The warped loss that each candidate may have at best, `(n,)`.
            ceiling: The loss above which a network is of no use.
        """
        costs = np.concatenate([self.known, self.costs[self.within]])
        losses = np.concatenate([warp(self.losses), promise[self.within]])
        box = bounding_box(costs, losses, float(warp(np.array([ceiling]))[0]))
        return landscape(replace(box, loss=ceiling), self.known, self.losses)

    def of_candidates(self, places: NDArray[np.integer]) -> View:
        """The view with the candidates at `places` only."""
        return replace(self, costs=self.costs[places], within=self.within[places])

    def after(self, place: int, loss: float) -> View:
        """The view after an evaluation of the candidate at `place`, with this loss."""
        if not self.within[place]:
            return self
        known = np.append(self.known, self.costs[[place]], axis=0)
        return replace(self, known=known, losses=np.append(self.losses, loss))


def total_gains(
    views: Sequence[View],
    landscapes: Sequence[Landscape],
    *,
    warp: Warp,
    mean: FloatArray,
    spread: FloatArray,
) -> FloatArray:
    """The expected gain of each candidate over all goals, `(n,)`.

    Args:
        views: The view of every goal.
        landscapes: The landscape of every goal.
        warp: The map of losses to which the predictions belong.
        mean: Predicted means of the warped loss, `(n,)`.
        spread: Predicted standard deviations of the warped loss, `(n,)`.
    """
    levels = np.unique(np.concatenate([land.levels for land in landscapes]))
    places = [np.searchsorted(levels, land.levels) for land in landscapes]
    total = np.zeros(len(mean))
    for start in range(0, len(mean), _BLOCK):
        part = slice(start, start + _BLOCK)
        expected = warp.improvement(levels, mean[part], spread[part])
        for view, land, place in zip(views, landscapes, places, strict=True):
            found = gains(land, view.costs[part], expected[:, place])
            total[part] += np.where(view.within[part], found, 0.0)
    return total
