"""What each option of each choice adds to a cost of a network: as lookups, exact where they can be.

A compiled cost is a sum of lookups already. Of any other cost, such as a longest path, the effects
of single picks are measured around one network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from nas.problem.goals import ArrayCost
from nas.search.polish import mutants
from nas.targets.network_costs import Constant, Sum
from search_spaces.costs import CompiledCost
from search_spaces.lookups import Lookup
from search_spaces.space import Genotype, InvalidGenotype, SearchSpace


def require_choices(space: SearchSpace, choices: Collection[str]) -> None:
    """Raise `InvalidGenotype` if the space lacks one of the `choices`."""
    if unknown := sorted(set(choices) - set(space.column)):
        raise InvalidGenotype(f"space {space.name!r} has no choices {unknown}")


def is_sum(cost: ArrayCost) -> bool:
    """Whether `lookups` of a cost are exact for every network, and not only near one."""
    if isinstance(cost, Sum):
        return all(is_sum(part) for part in cost.parts)
    return isinstance(cost, CompiledCost | Constant)


def lookups(
    cost: ArrayCost, space: SearchSpace, genotype: Genotype, *, choices: Collection[str]
) -> list[Lookup]:
    """Lookups over `choices` whose sum is the cost, with all other picks as in `genotype`.

    Args:
        cost: The cost of `(n, choices)` genotypes as `(n,)`.
        space: The space.
        genotype: A canonical genotype.
        choices: The names of the choices that may be picked anew.
    """
    if isinstance(cost, Sum):
        return [t for part in cost.parts for t in lookups(part, space, genotype, choices=choices)]
    if isinstance(cost, Constant):
        return [Lookup((), np.array(cost.value))]
    if isinstance(cost, CompiledCost):
        picks = dict(zip(space.column, genotype, strict=True))
        return [_sliced(table, picks, choices) for table in cost.tables]
    return list(_near(cost, space, genotype, choices))


def _sliced(table: Lookup, picks: dict[str, int], choices: Collection[str]) -> Lookup:
    at = tuple(slice(None) if name in choices else picks[name] for name in table.choices)
    return Lookup(tuple(name for name in table.choices if name in choices), table.values[at])


def _near(
    cost: ArrayCost, space: SearchSpace, genotype: Genotype, choices: Collection[str]
) -> Iterator[Lookup]:
    row = np.array([genotype])
    here = float(cost(row)[0])
    effects = cost(mutants(row, space)) - here
    yield Lookup((), np.array(here))
    for name, part in zip(
        space.column, np.split(effects, np.cumsum(space.counts)[:-1]), strict=True
    ):
        if name in choices:
            yield Lookup((name,), part)
