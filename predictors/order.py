"""The order of the options of each choice, learned from costs that are known of every network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

_BASES = 32
_CLEAR = 4.0  # standard errors by which the means of a choice differ if costs say anything of it
_DIGITS = 6  # options whose costs differ by rounding errors alone keep the order of the space


@dataclass(frozen=True, eq=False)
class LogCost:
    """A feature column: the logarithm of a cost of `(n, choices)` genotypes, as `(n,)`.

    Attributes:
        cost: The cost of genotypes, `(n, choices)` to `(n,)`.
    """

    cost: Callable[[IntArray], FloatArray]

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The logarithms; minus 28 or so where the cost is 0."""
        return np.log(np.maximum(self.cost(genotypes), 1e-12))


def ranks_by_cost(space: SearchSpace, costs: Sequence[LogCost]) -> list[IntArray]:
    """The rank of every option among those of its choice, cheapest first, `(options,)` a choice.

    Each of a few random networks is changed in one choice at a time, and the ranks are those of
    the mean change of the logarithms of all costs. Without a cost, among options of equal cost,
    and where the cost says nothing of a choice, options are in the order of the space.

    Args:
        space: The space of the choices.
        costs: Costs that are known of every network.
    """
    if not costs or not len(space.counts):
        return [np.arange(count) for count in space.counts]
    bases = space.sample_array(np.random.default_rng(0), _BASES)
    every = np.repeat(np.arange(len(space.counts)), space.counts)
    option = np.concatenate([np.arange(count) for count in space.counts])
    rows = np.repeat(bases, len(every), axis=0)
    rows[np.arange(len(rows)), np.tile(every, len(bases))] = np.tile(option, len(bases))
    rows = space.canonical_array(rows)
    change = np.zeros((len(bases), len(every)))
    for cost in costs:
        found = cost(rows)
        finite = found[np.isfinite(found)]
        top = float(finite.max()) if len(finite) else 0.0
        found = np.where(np.isfinite(found), found, top).reshape(change.shape)
        change += (found - found.mean(axis=1, keepdims=True)) / (found.std() or 1.0)
    return [_ranks(part) for part in np.split(change, np.cumsum(space.counts)[:-1], axis=1)]


def _ranks(change: FloatArray) -> IntArray:
    """The ranks of options by their mean change; in the given order if differences are noise.

    Args:
        change: The cost of each network with each option, `(networks, options)`.
    """
    apart = change - change.mean(axis=1, keepdims=True)
    mean = apart.mean(axis=0).round(_DIGITS)
    error = float(apart.std(axis=0).max(initial=0.0)) / np.sqrt(len(apart))
    if np.ptp(mean) < _CLEAR * error:
        return np.arange(len(mean))
    return np.argsort(np.argsort(mean, kind="stable"))
