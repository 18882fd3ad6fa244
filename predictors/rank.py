"""How well a score ranks networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

FloatArray = NDArray[np.float64]


def kendall_tau(predicted: FloatArray, measured: FloatArray) -> float:
    """Kendall's tau-b of two `(n,)` scores: 1 for the same order, -1 for the reverse.

    NaN where either is constant or has fewer than two entries: no order, no agreement.
    """
    if len(predicted) != len(measured):
        raise ValueError(
            f"tau compares scores of the same networks, given {len(predicted)} and {len(measured)}"
        )
    if len(predicted) < 2 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return float("nan")
    result: Any = kendalltau(predicted, measured)
    return float(result.statistic)


def tau_within_budgets(
    predicted: FloatArray, measured: FloatArray, cost: FloatArray, *, bins: int = 5
) -> FloatArray:
    """Tau among networks of about equal `cost`, as `(bins,)`, by rising cost.

    The bins hold equally many networks. Ranking within a budget is what a search needs; over all
    budgets, size alone ranks well. NaN for a bin whose networks cannot be ordered.
    """
    order = np.argsort(cost, kind="stable")
    return np.array([kendall_tau(predicted[b], measured[b]) for b in np.array_split(order, bins)])
