"""Judging a predictor: it learns a few measured networks and predicts others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from predictors.calibrated import REACH
from predictors.predictor import Predictor
from predictors.rank import kendall_tau, tau_within_budgets
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]

LEAST_JUDGED = 10
_BEST = 0.1


@dataclass(frozen=True)
class Judgement:
    """The quality of predictions of networks that were not learned; NaN where it has no meaning.

    Attributes:
        tau: Kendall's tau between predicted and measured losses.
        within: The mean of tau within five bins of about equal cost.
        r2: The share of the variance of the losses that is predicted.
        held: The share of losses within 1.645 deviations of the mean, where 0.9 is meant.
        held_best: The same share among the tenth with the lowest losses.
    """

    tau: float
    within: float
    r2: float
    held: float
    held_best: float

    @classmethod
    def mean(cls, found: Sequence[Judgement]) -> Judgement:
        """The mean of several judgements; NaN where a figure is NaN in one of them."""
        return cls(*np.mean([astuple(one) for one in found], axis=0).tolist())


def judgement(
    mean: FloatArray, spread: FloatArray, losses: FloatArray, *, cost: FloatArray | None
) -> Judgement:
    """The judgement of predictions.

    Args:
        mean: The predicted losses, `(n,)`.
        spread: Their deviations, `(n,)`.
        losses: The measured losses, `(n,)`.
        cost: The cost of each network for the bins, `(n,)`; None without bins.
    """
    variance = float(losses.var())
    errors = losses - mean
    held = np.abs(errors) <= REACH * spread
    best = losses <= np.quantile(losses, _BEST)
    return Judgement(
        kendall_tau(mean, losses),
        np.nan if cost is None else _within(mean, losses, cost),
        np.nan if variance == 0 else 1 - float(np.mean(errors**2)) / variance,
        float(held.mean()),
        float(held[best].mean()),
    )


def ranking(score: FloatArray, losses: FloatArray, *, cost: FloatArray | None) -> Judgement:
    """The judgement of a score `(n,)` that ranks only: the loss shall fall with the score."""
    within = np.nan if cost is None else _within(-score, losses, cost)
    return Judgement(kendall_tau(-score, losses), within, np.nan, np.nan, np.nan)


def drawn(total: int, *, count: int, seed: int, judged: int) -> tuple[IntArray, IntArray]:
    """Random positions of `count` networks to learn and of at most `judged` others.

    Raises:
        ValueError: Fewer than 10 networks are left to judge.
    """
    if total - count < LEAST_JUDGED:
        raise ValueError(
            f"of {total} networks, {count} cannot be learned and at least {LEAST_JUDGED} others "
            f"judged; learn at most {max(total - LEAST_JUDGED, 0)}"
        )
    order = np.random.default_rng(seed).permutation(total)
    return order[:count], order[count : count + judged]


def judged(
    predictor: Predictor,
    rows: IntArray,
    losses: FloatArray,
    *,
    places: tuple[IntArray, IntArray],
    cost: FloatArray | None,
) -> Judgement:
    """The judgement of a predictor that learns some networks and predicts others.

    Args:
        predictor: The predictor.
        rows: The genotypes, `(n, choices)`.
        losses: Their losses, `(n,)`.
        places: The positions of the networks to learn, and of those to judge, from `drawn`.
        cost: The cost of each network for the bins, `(n,)`; None without bins.
    """
    learned, others = places
    predictor.fit(rows[learned], losses[learned])
    mean, spread = predictor.predict(rows[others])
    return judgement(mean, spread, losses[others], cost=None if cost is None else cost[others])


def _within(score: FloatArray, losses: FloatArray, cost: FloatArray) -> float:
    """The mean tau over the bins in which there is an order; NaN if there is none in any."""
    taus = tau_within_budgets(score, losses, cost)
    known = taus[np.isfinite(taus)]
    return float(known.mean()) if len(known) else np.nan
