"""The activity of choices: a choice is active, or open, if a present node uses it.

A choice that is nested in an option of another choice is open only while that option is picked.
"""

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
    """A place in the graph where a choice is used.

    Attributes:
        choice: The choice.
        conditions: Values, placeholders included, that must all be true for the place to count.
        guards: Pairs of an outer choice and the index of the option that holds this place; all of
            these options must be picked for the place to count.
    """

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
    """Every place where a node of `graph` uses a choice."""
    for node in graph.nodes.values():
        for position, condition in enumerate(node.present):
            yield from _uses_in(condition, node.present[:position], ())
        yield from _uses_in(node.op, node.present, ())


def activity_tables(graph: Graph) -> dict[str, list[Lookup]]:
    """The rules that open the choices of `graph`: choice name -> tables of booleans.

    A choice is open if any of its tables is true. Choices that are always open are left out.
    """
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
    """The rules that open choices, evaluated for whole populations at once.

    Choices with equal tables share one rule, which is evaluated only once.

    Args:
        column: Choice name -> the column of the choice in an array of genotypes.
        tables: The result of `activity_tables`.

    Attributes:
        rule: The number of the rule that opens each choice, `(choices,)`; rule 0 is always true.
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
        """Whether each rule holds for every row of `genotypes` `(n, choices)`, as `(rules, n)`."""
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
    """The exact number of distinct networks, without enumerating them.

    Networks are counted as assignments of options in which every closed choice stands at its first
    option. Choices that do not influence each other form independent groups, whose counts multiply.
    Within a group, the counts under each option of one choice that opens others are added; under
    each of these options the rest usually falls apart into smaller groups.

    Args:
        counts: Choice name -> its number of options.
        rules: The result of `activity_tables`.
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
    """The rule `tables` once `pivot` has picked `option`.

    True where the rule then always holds, False where it never does, else the tables that remain.
    """
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
