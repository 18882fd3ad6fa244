"""Measures of how well a score ranks networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

FloatArray = NDArray[np.float64]


def kendall_tau(predicted: FloatArray, measured: FloatArray) -> float:
    """Kendall's tau-b of two scores `(n,)`: 1 for the same order, -1 for the reverse order.

    NaN where a score is constant or has fewer than two entries, since there is no order then.

    Raises:
        ValueError: If the scores have different lengths.
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
    """Kendall's tau among networks of about equal cost, `(bins,)`, by rising cost.

    A search needs a good ranking within a budget; over all budgets, size alone ranks well. A bin
    is NaN where its networks cannot be ordered.

    Args:
        predicted: Predicted losses, `(n,)`.
        measured: Measured losses, `(n,)`.
        cost: The cost of each network, `(n,)`, in any unit.
        bins: The number of bins, which hold about equally many networks.
    """
    order = np.argsort(cost, kind="stable")
    return np.array([kendall_tau(predicted[b], measured[b]) for b in np.array_split(order, bins)])
