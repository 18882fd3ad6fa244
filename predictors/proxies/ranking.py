"""The quality of each proxy's ranking of networks, and one ranking from several proxies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from predictors.proxies.proxy import Proxy
from predictors.rank import kendall_tau

FloatArray = NDArray[np.float64]


def directions(proxies: Iterable[Proxy]) -> dict[str, bool]:
    """Name of a score -> whether a larger value promises a smaller loss.

    Raises:
        ValueError: If two proxies give scores of the same name.
    """
    listed = [pair for proxy in proxies for pair in proxy.larger_is_better.items()]
    found = dict(listed)
    if len(found) < len(listed):
        names = [name for name, _ in listed]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"two proxies give the score {', '.join(twice)}; leave one of them out")
    return found


def proxy_report(
    scores: Mapping[str, FloatArray],
    errors: FloatArray,
    *,
    larger_is_better: Mapping[str, bool],
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
    larger_is_better: Mapping[str, bool],
) -> FloatArray:
    """The mean rank of each network over all proxies, `(n,)`, from 0 (best) to 1 (worst).

    Args:
        scores: Name of a proxy -> values `(n,)`.
        larger_is_better: For each proxy, whether a larger value promises a smaller loss.

    Raises:
        ValueError: If there is no proxy, or `larger_is_better` lacks one.
    """
    _require(scores)
    ranks = _losses(scores, larger_is_better)
    return np.mean([(rank - 1) / max(len(rank) - 1, 1) for rank in ranks.values()], axis=0)


def log_rank_sum(
    scores: Mapping[str, FloatArray], larger_is_better: Mapping[str, bool]
) -> FloatArray:
    """The sum over proxies of the logarithm of each network's share of networks that are no better.

    This is how AZ-NAS joins its four proxies: one bad rank weighs more than several good ones. A
    larger sum promises a smaller loss. It depends on which networks are compared.

    Args:
        scores: Name of a proxy -> values `(n,)`.
        larger_is_better: For each proxy, whether a larger value promises a smaller loss.

    Returns:
        `(n,)`, at most 0.

    Raises:
        ValueError: If there is no proxy, or `larger_is_better` lacks one.
    """
    _require(scores)
    ranks = _losses(scores, larger_is_better).values()
    return np.sum([np.log((len(rank) + 1 - rank) / len(rank)) for rank in ranks], axis=0)


def _require(scores: Mapping[str, FloatArray]) -> None:
    if not scores:
        raise ValueError("ranks need the scores of at least one proxy, given none")


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
