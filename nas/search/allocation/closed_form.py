"""The closed form of bits per layer, for losses that fall by a constant factor per bit.

With a loss c 2^(-2R) of a layer at R bits and a cost of n R, the best rates within a budget are
R = R_mean + log2((c / n) / G) / 2, where G is the geometric mean of all c / n, each weighted by its
n (BAQ, Zhang et al. 2025, section 3). All layers then lose as much per unit of cost. Rates beyond
the options stay at the ends, as in reverse water-filling (Cover and Thomas 2006, section 10.3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]

EXPONENT = 2.0
_NEAR = 4  # options of a choice that take part in exchanges


@dataclass(frozen=True, eq=False)
class Rates:
    """The continuous solution for some budgets, with the figures of each layer.

    Attributes:
        rates: The rate of each choice, `(budgets, choices)`.
        scales: The loss of each choice at rate 0, c, `(choices,)`.
        slopes: The cost per unit of rate of each choice, n, `(choices,)`.
    """

    rates: FloatArray
    scales: FloatArray
    slopes: FloatArray

    @property
    def loss(self) -> FloatArray:
        """The summed loss at these rates, `(budgets,)`.

        No picks of options whose losses and costs are as the closed form assumes lose less.
        """
        return (self.scales * 2.0 ** (-EXPONENT * self.rates)).sum(axis=1)


def continuous(
    losses: FloatArray,
    costs: FloatArray,
    *,
    counts: NDArray[np.int64],
    budgets: FloatArray,
    rates: FloatArray,
) -> Rates:
    """The rates of least loss within each budget, between the least and the largest rate offered.

    Args:
        losses: The loss that every option adds, choice after choice, `(options,)`; infinite where
            an option is not allowed. Only differences within a choice matter.
        costs: The cost that every option adds, `(options,)`.
        counts: The number of options of each choice, `(choices,)`.
        budgets: The budgets, `(n,)`, in the unit of the costs.
        rates: The rate of every option, such as its bits, `(options,)`.
    """
    parts = [
        _curve(rates[at], losses[at], costs[at])
        for at in np.split(np.arange(len(losses)), np.cumsum(counts)[:-1])
    ]
    scales, slopes, bases, low, high = np.array(parts).reshape(-1, 5).T
    with np.errstate(divide="ignore", invalid="ignore"):
        # The rate at which a choice loses 2^level per unit of cost; it falls as the level rises.
        offsets = np.log2(scales * EXPONENT * np.log(2.0) / slopes)
    offsets = np.where((scales > 0) & (slopes > 0), offsets, -np.inf)
    known = np.isfinite(offsets)
    ends = np.concatenate([(offsets - EXPONENT * end)[known] for end in (low, high)])
    levels = np.unique(ends) if known.any() else np.zeros(1)
    at_levels = _rates_at(levels, offsets, low, high)
    spent = at_levels @ slopes + bases.sum()
    level = np.interp(budgets, spent[::-1], levels[::-1])
    return Rates(_rates_at(level, offsets, low, high), scales, slopes)


def _rates_at(
    levels: FloatArray, offsets: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    return np.clip((offsets - levels[:, None]) / EXPONENT, low, high)


def _curve(rates: FloatArray, losses: FloatArray, costs: FloatArray) -> tuple[float, ...]:
    """The scale of the loss, the slope and base of the cost, and both ends of the rate."""
    allowed = np.isfinite(losses)
    rates, losses, costs = (values[allowed] for values in (rates, losses, costs))
    order = np.argsort(rates, kind="stable")
    rates, losses, costs = rates[order], losses[order], costs[order]
    slope = float(np.polyfit(rates, costs, 1)[0]) if np.ptp(rates) > 0 else 0.0
    base = float(np.mean(costs - slope * rates))
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = -np.diff(losses) / -np.diff(2.0 ** (-EXPONENT * rates))
    scale = scale[np.isfinite(scale) & (scale > 0)]
    mean = float(np.exp(np.log(scale).mean())) if len(scale) else 0.0
    return mean, slope, base, float(rates[0]), float(rates[-1])


def closed_form(
    losses: FloatArray,
    costs: FloatArray,
    *,
    counts: NDArray[np.int64],
    budgets: FloatArray,
    rates: FloatArray,
) -> IntArray:
    """Options near the closed form's rates, within each budget, `(budgets, choices)`.

    Each rate is rounded down to an option. What is left of the budget buys the better options that
    gain most per cost. Then up to four choices at a time are changed while that gains. A budget
    below the cheapest options gives the cheapest options. Arguments are those of `continuous`.

    Raises:
        ValueError: A choice has no option that is allowed.
    """
    starts = np.cumsum(counts) - counts
    refused = np.minimum.reduceat(losses, starts) == np.inf
    if refused.any():
        raise ValueError(
            f"choice {int(refused.argmax())} has no option of finite loss; leave one allowed"
        )
    found = continuous(losses, costs, counts=counts, budgets=budgets, rates=rates)
    table = _Table(losses, costs, np.repeat(np.arange(len(counts)), counts))
    picks = [
        table.improved(table.below(rates, row), budget + 1e-9 * abs(budget))
        for row, budget in zip(found.rates, budgets, strict=True)
    ]
    return np.array(picks).reshape(len(budgets), len(counts)) - starts


@dataclass(frozen=True, eq=False)
class _Table:
    """All options in one list; `choice` is the number of each option's choice."""

    losses: FloatArray
    costs: FloatArray
    choice: NDArray[np.int64]

    def below(self, rates: FloatArray, wanted: FloatArray) -> NDArray[np.int64]:
        """For each choice, the option of the largest rate up to `wanted`, or of the least rate."""
        usable = np.isfinite(self.losses)
        least = np.full(len(wanted), np.inf)
        np.minimum.at(least, self.choice[usable], rates[usable])
        reach = np.maximum(wanted + 1e-9, least)[self.choice]
        score = np.where(usable & (rates <= reach), rates, -np.inf)
        order = np.lexsort((score, self.choice))  # the last of each choice has the largest score
        return order[np.searchsorted(self.choice[order], np.arange(len(wanted)), side="right") - 1]

    def improved(self, picks: NDArray[np.int64], budget: float) -> NDArray[np.int64]:
        """The picks, made cheaper until they keep the budget, then better while they do."""
        picks = picks.copy()
        while self.costs[picks].sum() > budget and self._cheaper(picks):
            pass
        while self._better(picks, budget):
            pass
        digits = [1 << digit for digit in range((len(picks) - 1).bit_length())]
        # Any two choices are in unlike halves of some split.
        while any(self._exchanged(picks, budget, split) for split in digits):
            pass
        return picks

    def _changes(self, picks: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """What each option adds to the loss and to the cost of the picks, `(options,)`."""
        old = picks[self.choice]
        return self.losses - self.losses[old], self.costs - self.costs[old]

    def _cheaper(self, picks: NDArray[np.int64]) -> bool:
        more, spent = self._changes(picks)
        saves = (spent < 0) & np.isfinite(more)
        return self._take(picks, np.where(saves, more / np.where(saves, -spent, 1), np.inf), np.inf)

    def _better(self, picks: NDArray[np.int64], budget: float) -> bool:
        more, spent = self._changes(picks)
        fits = (more < 0) & (self.costs[picks].sum() + spent <= budget)
        gain = np.where(fits, more / np.maximum(spent, 1e-300), np.inf)
        return self._take(picks, gain, 0.0)

    def _take(self, picks: NDArray[np.int64], price: FloatArray, most: float) -> bool:
        best = int(price.argmin())
        if not price[best] < most:
            return False
        picks[self.choice[best]] = best
        return True

    def _exchanged(self, picks: NDArray[np.int64], budget: float, split: int) -> bool:
        """Change up to two picks in each half of the choices, for the most gain; whether any gain.

        Every pair of changes of one half meets the best pair of the other half that still fits
        (Horowitz and Sahni 1974). The bit `split` of a choice's number tells its half.
        """
        changes = self._changes(picks)
        near = self._near(*changes)
        upper = (self.choice[near] & split) > 0
        one, lost, cost = self._pairs(near[upper], *changes)
        other, less, spent = self._pairs(near[~upper], *changes)
        least = np.minimum.accumulate(less)
        best = np.maximum.accumulate(np.where(less == least, np.arange(len(less)), 0))
        left = budget - self.costs[picks].sum() - cost
        reach = np.searchsorted(spent, left, side="right") - 1
        gain = np.where(reach >= 0, lost + least[reach], np.inf)
        pair = int(gain.argmin())
        if not gain[pair] < -1e-12 * np.abs(self.losses[picks]).sum():
            return False
        changed = np.concatenate([one[pair], other[best[reach[pair]]]])
        changed = changed[changed != picks[self.choice[changed]]]
        picks[self.choice[changed]] = changed
        return True

    def _near(self, more: FloatArray, spent: FloatArray) -> NDArray[np.int64]:
        """The options of each choice that are nearest in cost to the picked one, it included."""
        order = np.lexsort((np.abs(spent), self.choice))
        place = np.arange(len(order)) - np.searchsorted(self.choice[order], self.choice[order])
        return order[(place < _NEAR) & np.isfinite(more[order])]

    def _pairs(
        self, options: NDArray[np.int64], more: FloatArray, spent: FloatArray
    ) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Single options and pairs of unlike choices, `(n, 2)`, with the loss and cost they add.

        They are in the order of their cost.
        """
        one, other = (options[places] for places in np.triu_indices(len(options)))
        kept = (one == other) | (self.choice[one] != self.choice[other])
        one, other = one[kept], other[kept]
        lost, cost = (v[one] + np.where(one == other, 0.0, v[other]) for v in (more, spent))
        order = np.argsort(cost, kind="stable")
        return np.stack([one, other], axis=1)[order], lost[order], cost[order]
