"""The quality of each proxy's ranking of networks, and one ranking from several proxies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from predictors.proxies import ZERO_COST
from predictors.rank import kendall_tau

FloatArray = NDArray[np.float64]

# The scores of `ZERO_COST`, then those of whole spaces (`space_counts`) and of whole policies.
LARGER_IS_BETTER: Mapping[str, bool] = MappingProxyType(
    {name: larger for proxy in ZERO_COST for name, larger in proxy.larger_is_better.items()}
    | {"bitops": True, "model_bytes": True}
    | {"weight_noise": False, "weight_divergence": False, "activation_divergence": False}
)


def proxy_report(
    scores: Mapping[str, FloatArray],
    errors: FloatArray,
    *,
    larger_is_better: Mapping[str, bool] = LARGER_IS_BETTER,
) -> dict[str, float]:
    """Kendall's tau of every proxy with the measured losses, by name.

    1 means that the proxy ranks all networks as `errors` does, -1 that the order is reversed.

    Args:
        scores: Name of a proxy -> values `(n,)`; infinite values rank first or last.
        errors: Measured losses `(n,)`.
        larger_is_better: For each proxy, whether a larger value promises a smaller loss.

    Raises:
        ValueError: If `larger_is_better` lacks a proxy.
    """
    ranks = _losses(scores, larger_is_better)
    return {name: kendall_tau(rank, errors) for name, rank in ranks.items()}


def rank_mean(
    scores: Mapping[str, FloatArray],
    *,
    larger_is_better: Mapping[str, bool] = LARGER_IS_BETTER,
) -> FloatArray:
    """The mean rank of each network over all proxies, `(n,)`, from 0 (best) to 1 (worst).

    Args:
        scores: Name of a proxy -> values `(n,)`.
        larger_is_better: For each proxy, whether a larger value promises a smaller loss.

    Raises:
        ValueError: If there is no proxy, or `larger_is_better` lacks one.
    """
    if not scores:
        raise ValueError("a mean rank needs the scores of at least one proxy, given none")
    ranks = _losses(scores, larger_is_better)
    return np.mean([(rank - 1) / max(len(rank) - 1, 1) for rank in ranks.values()], axis=0)


def _losses(
    scores: Mapping[str, FloatArray], larger_is_better: Mapping[str, bool]
) -> dict[str, FloatArray]:
    """The ranks of the networks by each proxy, `(n,)`, from 1 for the best; ties share a rank."""
    unknown = sorted(set(scores) - set(larger_is_better))
    if unknown:
        raise ValueError(
            f"the direction of {unknown} is not known; give `larger_is_better` for them, as for "
            f"{sorted(larger_is_better)}"
        )
    return {
        name: rankdata(-np.asarray(values) if larger_is_better[name] else values)
        for name, values in scores.items()
    }
