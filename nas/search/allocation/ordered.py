"""Precisions in an order: step by step from the dearest to the cheapest, and how far one may go.

The order is by what a step loses, with inter-layer terms where the loss has them. Schaefer et al.
2023 ("Augmenting Hessians with inter-layer dependencies") order layers so and bisect the order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import ArrayCost
from nas.search.allocation.options import require_choices
from search_spaces.choice import choices_in
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

    Each step gives one choice, or the choices of one layer together, their next cheaper options:
    those that lose least, beside all options that are already cheap. Choices go together since a
    device may run a layer in fewer bits only if both its weight and its inputs have them.

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
    rows, groups = [np.array(space.canonical(genotype))], _groups(space, choices)
    while True:
        near, spent = _cheaper(space, rows[-1], cost, groups)
        if not len(near):
            return np.array(rows)
        lost = loss(near) - loss(rows[-1][None])
        saved = cost(rows[-1][None]) - spent
        # A step that loses nothing saves as much as it can; one that gains is no better than that.
        price = np.maximum(lost, 0.0) / saved if per_cost else lost
        rows.append(near[np.lexsort((-saved, price))[0]])


def _groups(space: SearchSpace, choices: Collection[str]) -> list[IntArray]:
    """The options of each choice, and of the choices of each layer together.

    Each is `(combinations, choices)`, with -1 where a choice stays as it is.
    """
    layers = [
        tuple(dict.fromkeys(one.name for one in choices_in(node.op) if one.name in choices))
        for node in space.graph.nodes.values()
    ]
    found: list[IntArray] = []
    for names in dict.fromkeys(
        [*((name,) for name in choices), *(names for names in layers if names)]
    ):
        columns = [space.column[name] for name in names]
        options = [*itertools.product(*(range(space.counts[column]) for column in columns))]
        rows = np.full((len(options), len(space.choices)), -1)
        rows[:, columns] = options
        found.append(rows)
    return found


def _cheaper(
    space: SearchSpace, row: IntArray, cost: ArrayCost, groups: Sequence[IntArray]
) -> tuple[IntArray, FloatArray]:
    """The networks in which one group has its next cheaper options, and their costs.

    Of a group, all options of that cost are there.
    """
    changes = np.concatenate(groups)
    near = space.canonical_array(np.where(changes < 0, row, changes))
    spent = cost(near)
    spent[~(spent < cost(row[None])[0] * (1 - 1e-12))] = -np.inf
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    level = np.repeat(np.maximum.reduceat(spent, starts), sizes)
    next_ = np.isfinite(spent) & (spent == level)
    return near[next_], spent[next_]


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
