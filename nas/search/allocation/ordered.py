"""Precisions in an order: step by step from the dearest to the cheapest, and how far one may go.

The order is by what a step loses, with inter-layer terms where the loss has them. Schaefer et al.
2023 ("Augmenting Hessians with inter-layer dependencies") order layers so and bisect the order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import ArrayCost
from nas.search.allocation.options import require_choices
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]


def descent(
    space: SearchSpace,
    genotype: Genotype,
    *,
    loss: ArrayCost,
    cost: ArrayCost,
    choices: Collection[str],
    per_cost: bool = True,
) -> IntArray:
    """The networks on the way from `genotype` to the cheapest picks, `(steps + 1, choices)`.

    Each step gives one choice its next cheaper option: the one that loses least, beside all options
    that are already cheap. Options that are no cheaper than the present one are passed over.

    Args:
        space: The space.
        genotype: The network to begin with, such as the one of the most bits.
        loss: The loss of `(n, choices)` genotypes as `(n,)`, with joint effects or without.
        cost: The cost of genotypes.
        choices: The names of the choices that may become cheaper.
        per_cost: Whether a step is judged by what it loses per cost that it saves.

    Raises:
        InvalidGenotype: The space has no choice of a given name.
    """
    require_choices(space, choices)
    rows = [np.array(space.canonical(genotype))]
    while True:
        near = _cheaper(space, rows[-1], cost, choices)
        if not len(near):
            return np.array(rows)
        lost = loss(near) - loss(rows[-1][None])
        saved = cost(rows[-1][None]) - cost(near)
        # A step that loses nothing saves as much as it can; one that gains is no better than that.
        price = np.maximum(lost, 0.0) / saved if per_cost else lost
        rows.append(near[np.lexsort((-saved, price))[0]])


def _cheaper(
    space: SearchSpace, row: IntArray, cost: ArrayCost, choices: Collection[str]
) -> IntArray:
    """The networks in which one choice has its next cheaper option."""
    found: list[IntArray] = []
    here = cost(row[None])[0]
    for name in choices:
        column = space.column[name]
        others = np.repeat(row[None], space.counts[column], axis=0)
        others[:, column] = np.arange(space.counts[column])
        others = space.canonical_array(others)
        spent = cost(others)
        spent[~(spent < here * (1 - 1e-12)) | ~np.isfinite(spent)] = -np.inf
        if np.isfinite(spent).any():
            found.append(others[int(spent.argmax())])
    return np.array(found).reshape(-1, len(space.choices))


def bisected(rows: IntArray, keeps: Callable[[Genotype], bool]) -> tuple[Genotype, int]:
    """The last network of a descent that is still good enough, and the number of networks tried.

    The number grows with the logarithm of the steps. Where networks do not become worse at every
    step, a network is found whose next one is not good enough.

    Args:
        rows: Networks from the dearest to the cheapest, `(n, choices)`; the first is good enough.
        keeps: Whether a network is good enough, by its true evaluation.
    """
    genotypes = as_genotypes(rows)
    good, bad, tried = 0, len(genotypes), 0
    while bad - good > 1:
        middle = (good + bad) // 2
        tried += 1
        if keeps(genotypes[middle]):
            good = middle
        else:
            bad = middle
    return genotypes[good], tried
