"""The multiple-choice knapsack: one option per choice, least summed loss within a budget.

Bits per layer within a latency or a size are the usual case.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import ArrayCost
from nas.search.polish import mutants
from search_spaces.space import Genotype, IntArray, InvalidGenotype, SearchSpace

FloatArray = NDArray[np.float64]

_STATES = 20_000
_ROUNDS = 4


def allocate(
    losses: FloatArray,
    costs: FloatArray,
    *,
    counts: NDArray[np.int64],
    budgets: FloatArray,
    states: int = _STATES,
) -> IntArray:
    """The options of least summed loss within each budget, `(budgets, choices)`.

    Choice by choice, the nondominated sums of what came before are joined with its options
    (Nemhauser & Ullmann 1969). Exact up to so many sums; beyond, the best in each of as many equal
    intervals of cost go on. A budget below the cheapest options gives those.

    Args:
        losses: What every option adds, choice after choice, `(options,)`; infinite where an option
            is not allowed.
        costs: What it adds to the cost, in the same shape and finite.
        counts: The number of options of each choice, `(choices,)`.
        budgets: `(n,)` in the unit of the costs.
        states: How many sums go on from choice to choice.

    Raises:
        ValueError: A choice has no option that is allowed.
    """
    loss, cost, steps = np.zeros(1), np.zeros(1), []
    for choice, start in enumerate(np.cumsum(counts) - counts):
        options = np.flatnonzero(np.isfinite(losses[start : start + counts[choice]]))
        if not len(options):
            raise ValueError(f"choice {choice} has no option of finite loss; leave one allowed")
        joined = (loss[:, None] + losses[start + options]).ravel()
        spent = (cost[:, None] + costs[start + options]).ravel()
        kept = _thinned(joined, spent, states)
        before, option = np.divmod(kept, len(options))
        loss, cost = joined[kept], spent[kept]
        steps.append((before, options[option]))
    picks = np.empty((len(budgets), len(counts)), dtype=np.int64)
    reach = budgets + 1e-9 * np.abs(budgets)  # sums in another order differ in their last digits
    state = np.maximum(np.searchsorted(cost, reach, side="right") - 1, 0)
    for choice in reversed(range(len(counts))):
        before, option = steps[choice]
        picks[:, choice] = option[state]
        state = before[state]
    return picks


def _thinned(loss: FloatArray, cost: FloatArray, states: int) -> NDArray[np.intp]:
    """The nondominated sums in the order of their costs, at most so many of them."""
    order = np.lexsort((loss, cost))
    falling = loss[order]
    better = np.ones(len(order), dtype=bool)
    better[1:] = falling[1:] < np.minimum.accumulate(falling)[:-1]
    order = order[better]
    if len(order) <= states:
        return order
    # Loss falls with cost, so the last of every interval is its best; the cheapest goes on too.
    at = cost[order]
    cell = ((at - at[0]) / (at[-1] - at[0]) * (states - 1)).astype(np.int64)
    last = np.append(cell[1:] != cell[:-1], True)
    last[0] = True
    return order[last]


def reallocated(
    space: SearchSpace,
    genotype: Genotype,
    *,
    loss: ArrayCost,
    cost: ArrayCost,
    budgets: FloatArray,
    choices: Collection[str],
) -> IntArray:
    """`genotype` with some choices picked anew, for the least loss within each budget.

    Optimal where loss and cost are sums over those choices. Elsewhere single picks are measured
    anew around what was found, a few times, and the best network within the budget is given.

    Args:
        space: The space.
        genotype: Gives all other picks.
        loss: Of `(n, choices)` genotypes, such as summed sensitivities.
        cost: Likewise, in any unit.
        budgets: Upper limits on the cost, `(n,)`.
        choices: The names of those to pick anew, such as all that hold precisions.

    Returns:
        `(budgets, choices)`.

    Raises:
        ValueError: No network that was found is within a budget, or a choice is unknown.
    """
    if unknown := sorted(set(choices) - set(space.column)):
        raise InvalidGenotype(f"space {space.name!r} has no choices {unknown}")
    named = np.array([made.name in choices for made in space.choices], dtype=np.bool_)
    free = np.repeat(named, space.counts)
    start = np.array([space.canonical(genotype)])
    best = current = np.repeat(start, len(budgets), axis=0)
    least = np.where(cost(best) <= budgets, loss(best), np.inf)
    for _ in range(_ROUNDS if choices else 0):
        current = _anew(space, current, loss, cost, budgets=budgets, free=free)
        found = np.where(cost(current) <= budgets, loss(current), np.inf)
        best = np.where((found < least)[:, None], current, best)
        least = np.minimum(found, least)
    if np.isinf(least).any():
        short = float(budgets[np.isinf(least)].max())
        raise ValueError(
            f"no picks of {', '.join(sorted(choices))} are within {short:g}; raise the budget, or "
            "begin with a smaller network"
        )
    return best


def _anew(
    space: SearchSpace,
    rows: IntArray,
    loss: ArrayCost,
    cost: ArrayCost,
    *,
    budgets: FloatArray,
    free: NDArray[np.bool_],
) -> IntArray:
    """For each row and its budget, the best picks if what single ones change adds up."""
    near, shape = mutants(rows, space), (len(rows), -1)
    spent = cost(rows)
    losses = loss(near).reshape(shape) - loss(rows)[:, None]
    costs = cost(near).reshape(shape) - spent[:, None]
    own = np.cumsum(space.counts) - space.counts + rows
    allowed = np.isfinite(costs) & free
    allowed[np.arange(len(rows))[:, None], own] = True
    losses, costs = np.where(allowed, losses, np.inf), np.where(allowed, costs, 0)
    left = (budgets - spent)[:, None]
    problems = zip(losses, costs, left, strict=True)
    picks = [allocate(*one[:2], counts=space.counts, budgets=one[2]) for one in problems]
    return space.canonical_array(np.concatenate(picks))
