"""The first policies of a search: all uniform ones, then those of least summed sensitivity.

Sums of sensitivities ignore what layers do to each other. They are therefore only where the search
begins; it goes on by true evaluations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nas.problem.goals import Goal, Measured
from nas.search.allocation import reallocated
from predictors.proxies.sensitivity import SensitivityCost
from search_spaces.costs import SpaceKernels
from search_spaces.quant import Quant
from search_spaces.space import Genotype, SearchSpace, as_genotypes

_BUDGETS = 6


def first_policies(
    space: SearchSpace,
    goals: Sequence[Goal],
    *,
    uniform: Sequence[Genotype],
    sensitivities: Mapping[str, SensitivityCost],
    most: int,
) -> list[Genotype]:
    """The policies to evaluate first: the uniform ones, then at most so many allocated ones.

    Args:
        space: The space.
        goals: The devices.
        uniform: The uniform policies.
        sensitivities: Kind -> what each precision of each tensor loses.
        most: The largest number of further policies.
    """
    each = [
        _allocated(space, goal, uniform, cost) for goal in goals for cost in sensitivities.values()
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*each))
    further = dict.fromkeys(one for one in turns if one is not None and one not in {*uniform})
    return [*uniform, *itertools.islice(further, most)]


def _allocated(
    space: SearchSpace, goal: Goal, uniform: Sequence[Genotype], sensitivity: SensitivityCost
) -> Iterator[Genotype]:
    """The policies of least summed sensitivity within budgets between those of uniform policies."""
    cost = goal.costs[goal.objectives[0]]
    if isinstance(cost, Measured):
        return
    spent = cost(np.array(uniform))
    spent = np.unique(spent[np.isfinite(spent)])
    if len(spent) < 2:
        return
    loss = SpaceKernels(space).compile_by_address(sensitivity)
    choices = [one.name for one in space.choices if _is_precision(one.options)]
    budgets = np.linspace(spent[0], spent[-1], _BUDGETS + 2)[1:-1]
    start = uniform[int(np.argmin(cost(np.array(uniform))))]  # within every budget
    rows = reallocated(space, start, loss=loss, cost=cost, budgets=budgets, choices=choices)
    yield from as_genotypes(rows)


def _is_precision(options: Sequence[object]) -> bool:
    return any(isinstance(option, Quant) for option in options)
