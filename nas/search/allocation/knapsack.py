"""The multiple-choice knapsack: one option per choice, with the least summed loss in a budget.

The usual case is the bits of each layer within a budget of latency or size.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import ArrayCost
from nas.search.allocation.options import require_choices
from nas.search.allocation.unreachable import Unreachable
from nas.search.polish import mutants
from search_spaces.space import Genotype, IntArray, SearchSpace

FloatArray = NDArray[np.float64]


class Solver(Protocol):
    """A function that picks one option per choice within each budget."""

    def __call__(
        self,
        losses: FloatArray,
        costs: FloatArray,
        /,
        *,
        counts: NDArray[np.int64],
        budgets: FloatArray,
    ) -> IntArray:
        """The options, `(budgets, choices)`, as `allocate` gives them."""
        ...


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
    """The options with the least summed loss within each budget, `(budgets, choices)`.

    Each choice in turn adds its options to the nondominated sums of loss and cost of the choices
    before (Nemhauser and Ullmann 1969). The result is exact while there are at most `states` sums.
    Of more sums, the best in each of `states` equal intervals of cost is kept. A budget below the
    cheapest options gives the cheapest options.

    Args:
        losses: The loss that every option adds, choice after choice, `(options,)`; infinite where
            an option is not allowed.
        costs: The cost that every option adds, `(options,)`, finite.
        counts: The number of options of each choice, `(choices,)`.
        budgets: The budgets, `(n,)`, in the unit of the costs.
        states: The largest number of sums that are kept from one choice to the next.

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
    """The positions of the nondominated sums, by ascending cost, at most `states` of them."""
    order = np.lexsort((loss, cost))
    falling = loss[order]
    better = np.ones(len(order), dtype=bool)
    better[1:] = falling[1:] < np.minimum.accumulate(falling)[:-1]
    order = order[better]
    if len(order) <= states:
        return order
    # Loss falls with cost: the last sum of an interval is the best. The cheapest is kept as well.
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
    solve: Solver | None = None,
) -> IntArray:
    """The `genotype` with new picks for some choices, for the least loss within each budget.

    The result is optimal where loss and cost are sums over these choices. Elsewhere the effects
    of single picks are measured again around each result, a few times, and the best network
    found within the budget is returned.

    Args:
        space: The space.
        genotype: The network whose other picks stay as they are.
        loss: The loss of `(n, choices)` genotypes as `(n,)`, such as summed sensitivities.
        cost: The cost of `(n, choices)` genotypes as `(n,)`, in any unit.
        budgets: Upper limits on the cost, `(n,)`, in the unit of the cost.
        choices: The names of the choices to pick again, such as all that hold precisions.
        solve: The solver of each problem of sums; `allocate` where left out.

    Returns:
        `(budgets, choices)`.

    Raises:
        InvalidGenotype: The space has no choice of a given name.
        Unreachable: No network that was found is within a budget.
    """
    require_choices(space, choices)
    named = np.array([made.name in choices for made in space.choices], dtype=np.bool_)
    free = np.repeat(named, space.counts)
    start = np.array([space.canonical(genotype)])
    best = current = np.repeat(start, len(budgets), axis=0)
    least = np.where(cost(best) <= budgets, loss(best), np.inf)
    for _ in range(_ROUNDS if choices else 0):
        current = _anew(space, current, loss, cost, budgets=budgets, free=free, solve=solve)
        found = np.where(cost(current) <= budgets, loss(current), np.inf)
        best = np.where((found < least)[:, None], current, best)
        least = np.minimum(found, least)
    if np.isinf(least).any():
        short = float(budgets[np.isinf(least)].max())
        cheapest = start
        for _ in range(_ROUNDS if choices else 0):
            none = np.full(1, np.finfo(np.float64).min)
            cheapest = _anew(space, cheapest, loss, cost, budgets=none, free=free, solve=allocate)
        raise Unreachable({"cost": short}, {"cost": float(cost(cheapest)[0])})
    return best


def _anew(
    space: SearchSpace,
    rows: IntArray,
    loss: ArrayCost,
    cost: ArrayCost,
    *,
    budgets: FloatArray,
    free: NDArray[np.bool_],
    solve: Solver | None,
) -> IntArray:
    """New picks for each row within its budget, `(n, choices)`.

    They are optimal if the effects of single picks on loss and cost add up.
    """
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
    solve = solve or allocate
    picks = [solve(*one[:2], counts=space.counts, budgets=one[2]) for one in problems]
    return space.canonical_array(np.concatenate(picks))
