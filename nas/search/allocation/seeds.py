"""What allocations offer to a search: good networks to evaluate first, for every goal and limit."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import ArrayCost, Goal, Measured, Problem
from nas.search.allocation.closed_form import closed_form
from nas.search.allocation.knapsack import allocate, reallocated
from nas.search.allocation.ordered import descent
from nas.search.allocation.programme import programmed
from nas.search.allocation.unreachable import Unreachable
from search_spaces.quant import Quant, bits_of
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]


def precision_choices(space: SearchSpace) -> list[str]:
    """The names of the choices among precisions."""
    return [
        made.name
        for made in space.choices
        if any(isinstance(option, Quant) for option in made.options)
    ]


def seeds(
    problem: Problem, losses: Mapping[str, ArrayCost], *, genotype: Genotype, count: int
) -> list[Genotype]:
    """Up to `count` networks with the least predicted losses within budgets, each goal in turn.

    Budgets are spread evenly, in logarithms, between the cheapest and the dearest network of a
    descent; the first networks are one for each budget. Within each, every loss has its exact
    knapsack and its closed form, the descent has its nearest network, and a goal with several
    limits has its integer programme.

    Args:
        problem: The space and the goals; costs that only an evaluation can measure do not count.
        losses: Name of a loss -> the loss of genotypes, such as summed sensitivities.
        genotype: The network whose other picks stay as they are, with the most precise options.
        count: The number of networks.

    Returns:
        Distinct canonical genotypes, those within the limits of their goals where any are.
    """
    choices = precision_choices(problem.space)
    if not choices or not losses:
        return [problem.space.canonical(genotype)][:count]
    computed = [
        goal.computed
        for goal in problem.goals
        if not all(isinstance(goal.costs[name], Measured) for name in goal.objectives)
    ]
    found = [_of_goal(problem.space, goal, losses, genotype, choices, count) for goal in computed]
    mixed = itertools.chain.from_iterable(itertools.zip_longest(*found))
    return list(dict.fromkeys(one for one in mixed if one is not None))[:count]


def _of_goal(
    space: SearchSpace,
    goal: Goal,
    losses: Mapping[str, ArrayCost],
    genotype: Genotype,
    choices: Sequence[str],
    count: int,
) -> list[Genotype]:
    cost = goal.costs[goal.objectives[0]]
    ways = [
        descent(space, genotype, loss=loss, cost=cost, choices=choices) for loss in losses.values()
    ]
    rows = np.concatenate(ways)
    spent = cost(rows)
    if not np.isfinite(spent).any():
        return []
    least, begun = float(spent.min()), as_genotypes(rows[[int(spent.argmin())]])[0]
    most = min(float(spent[np.isfinite(spent)].max()), goal.limits.get(goal.objectives[0], np.inf))
    budgets = np.geomspace(max(least, 1e-12), max(most, least, 1e-12), max(2, count))
    columns = list(_columns(space, cost, losses, budgets, begun, choices))
    columns += [_nearest(way, cost(way), budgets) for way in ways]
    # The first rows are one for each budget, by one column after the other.
    turns = itertools.product(range(len(columns)), range(len(budgets)))
    rows = [columns[(turn + at) % len(columns)][at] for turn, at in turns]
    if set(goal.limits) - {goal.objectives[0]}:
        rows = [*_limited(space, goal, losses, budgets, genotype, choices), *rows]
    kept = np.array(rows)
    within = goal.violation(kept) == 0
    return as_genotypes(kept[within] if within.any() else kept)


def _columns(
    space: SearchSpace,
    cost: ArrayCost,
    losses: Mapping[str, ArrayCost],
    budgets: FloatArray,
    genotype: Genotype,
    choices: Collection[str],
) -> Iterator[IntArray]:
    """The networks of every loss and solver within the budgets, each `(budgets, choices)`."""
    rates = np.concatenate([[_rate(o) for o in made.options] for made in space.choices])
    solvers = (allocate, functools.partial(closed_form, rates=rates))
    reach = budgets * (1 + 1e-9)
    for loss, solve in itertools.product(losses.values(), solvers):
        found = functools.partial(reallocated, space, genotype, loss=loss, cost=cost, solve=solve)
        yield found(budgets=reach, choices=choices)


def _rate(option: object) -> float:
    return float(bits_of(option)) if isinstance(option, Quant | None) else 0.0


def _nearest(way: IntArray, costs: FloatArray, budgets: FloatArray) -> IntArray:
    """Of a descent, the dearest network within each budget, `(budgets, choices)`."""
    order = np.argsort(costs, kind="stable")
    places = np.searchsorted(costs[order], budgets * (1 + 1e-9), side="right") - 1
    return way[order[np.maximum(places, 0)]]


def _limited(
    space: SearchSpace,
    goal: Goal,
    losses: Mapping[str, ArrayCost],
    budgets: FloatArray,
    genotype: Genotype,
    choices: Collection[str],
) -> Iterator[IntArray]:
    """The networks of least loss within a budget and all limits of a goal, where there are some."""
    for budget, loss in itertools.product(budgets[::-1], losses.values()):
        limits = {**goal.limits, goal.objectives[0]: float(budget)}
        solve = functools.partial(programmed, space, genotype, loss=loss, costs=goal.costs)
        # A search tells by itself what cannot be reached.
        with contextlib.suppress(Unreachable):
            yield np.array(solve(limits=limits, choices=choices))
