"""Which choices are open: a choice is active if a present node uses it along the picked options."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import Choice, choices_in, parts, resolve
from search_spaces.graph import Graph
from search_spaces.lookups import Lookup, Lookups, tabulate

Guard = tuple[Choice[Any], int]


@dataclass(frozen=True)
class Use:
    """A place where a choice is met: under `conditions` and with every guard's option picked."""

    choice: Choice[Any]
    conditions: tuple[Any, ...]
    guards: tuple[Guard, ...]


def _uses_in(value: Any, conditions: tuple[Any, ...], guards: tuple[Guard, ...]) -> Iterator[Use]:
    if isinstance(value, Choice):
        yield Use(value, conditions, guards)
        for index, option in enumerate(value.options):
            yield from _uses_in(option, conditions, (*guards, (value, index)))
    else:
        for part in parts(value):
            yield from _uses_in(part, conditions, guards)


def uses(graph: Graph) -> Iterator[Use]:
    """Every place where a node of `graph` meets a choice."""
    for node in graph.nodes.values():
        for position, condition in enumerate(node.present):
            yield from _uses_in(condition, node.present[:position], ())
        yield from _uses_in(node.op, node.present, ())


def activity_tables(graph: Graph) -> dict[str, list[Lookup]]:
    """For every choice that is not always open, tables of which any being true opens it."""
    distinct: dict[str, set[tuple[Any, ...]]] = {}
    for use in uses(graph):
        distinct.setdefault(use.choice.name, set()).add((use.conditions, use.guards))
    rules: dict[str, list[Lookup]] = {}
    for name, places in distinct.items():
        if ((), ()) in places:
            continue
        rules[name] = [_guard_table(name, *place) for place in sorted(places, key=repr)]
    return {name: tables for name, tables in rules.items() if not any(map(_always, tables))}


class Openings:
    """Whether choices are open in whole populations; those that always open together share a rule.

    Args:
        column: Choice name -> its column in an array of genotypes.
        tables: Those of `activity_tables`.

    Attributes:
        rule: Which rule opens each choice, `(choices,)`; number 0 is always true.
    """

    def __init__(self, column: Mapping[str, int], tables: Mapping[str, Sequence[Lookup]]) -> None:
        rules: list[Sequence[Lookup]] = [[Lookup((), np.array(True))]]  # noqa: FBT003
        numbers: dict[tuple[Any, ...], int] = {}
        self.rule = np.zeros(len(column), dtype=np.intp)
        for name, needed in tables.items():
            content = tuple((table.choices, table.values.tobytes()) for table in needed)
            if content not in numbers:
                numbers[content] = len(rules)
                rules.append(needed)
            self.rule[column[name]] = numbers[content]
        self._lookup = Lookups([table for needed in rules for table in needed], column)
        self._starts = np.cumsum([0, *map(len, rules[:-1])])

    def __call__(self, genotypes: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each rule holds in every row of `genotypes` `(n, choices)`, `(rules, n)`."""
        return np.logical_or.reduceat(self._lookup(genotypes), self._starts, axis=0)


def _always(table: Lookup) -> bool:
    return not table.choices and bool(table.values[()])


def _guard_table(name: str, conditions: tuple[Any, ...], guards: tuple[Guard, ...]) -> Lookup:
    met = [*choices_in(conditions), *(guard for guard, _ in guards)]
    counts = {found.name: len(found.options) for found in met}

    def holds(picks: dict[str, int]) -> bool:
        return all(picks[guard.name] == index for guard, index in guards) and all(
            resolve(condition, picks) for condition in conditions
        )

    return tabulate(f"whether {name!r} is open", counts, holds, np.bool_)


def count_networks(counts: dict[str, int], rules: dict[str, list[Lookup]]) -> int:
    """The number of distinct networks: assignments in which a closed choice stands at its first.

    Splits into independent groups of choices and conditions each on a choice that guards others,
    so depth separates the blocks it guards instead of multiplying them.
    """
    return math.prod(_count_group(group, counts, rules) for group in _independent(counts, rules))


def _independent(counts: dict[str, int], rules: dict[str, list[Lookup]]) -> list[set[str]]:
    group_of = {name: {name} for name in counts}
    for name, tables in rules.items():
        for other in {name for table in tables for name in table.choices}:
            if group_of[name] is not group_of[other]:
                group_of[name] |= group_of[other]
                for member in group_of[other]:
                    group_of[member] = group_of[name]
    return list({id(group): group for group in group_of.values()}.values())


def _count_group(group: set[str], counts: dict[str, int], rules: dict[str, list[Lookup]]) -> int:
    guards = [n for name in sorted(group) for table in rules.get(name, ()) for n in table.choices]
    if not guards:
        return math.prod(counts[name] for name in group)
    free = [name for name in guards if name not in rules]
    pivot = max(sorted(set(free)), key=free.count)
    total = 0
    for option in range(counts[pivot]):
        remaining = {name: counts[name] for name in group if name != pivot}
        narrowed: dict[str, list[Lookup]] = {}
        for name in sorted(group & rules.keys()):
            verdict = _condition(rules[name], pivot, option)
            if verdict is False:
                remaining[name] = 1
            elif verdict is not True:
                narrowed[name] = verdict
        total += count_networks(remaining, narrowed)
    return total


def _condition(tables: Sequence[Lookup], pivot: str, option: int) -> bool | list[Lookup]:
    """The rule once `pivot` has picked `option`: always, never, or the tables that remain."""
    left: list[Lookup] = []
    for table in tables:
        if pivot in table.choices:
            axis = table.choices.index(pivot)
            names = tuple(name for name in table.choices if name != pivot)
            table = Lookup(names, table.values.take(option, axis=axis)).minimal()  # noqa: PLW2901
        if _always(table):
            return True
        if table.values.any():
            left.append(table)
    return left or False
