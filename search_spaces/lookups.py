"""Lookups over few choices: what a value looks like under every combination that matters.

A node's shape or cost depends on a handful of choices. Enumerating those once turns any question
about a whole population of genotypes into numpy gathers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_TABLE = 500_000
LARGEST_SPACE = 2_000_000
LARGEST_JOINED = 1 << 13


class SpaceTooLarge(ValueError):
    """A space with more combinations of options than can be planned with."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """`values[i, j, ...]` under option `i` of `choices[0]`, option `j` of `choices[1]`, ..."""

    choices: tuple[str, ...]
    values: NDArray[Any]

    def at(self, picks: Mapping[str, int]) -> Any:
        """The entry under `picks` (choice name -> option index)."""
        return self.values[tuple(picks[name] for name in self.choices)]

    def minimal(self) -> Lookup:
        """The same table without the choices along which it does not vary."""
        names, values = list(self.choices), self.values
        for axis in reversed(range(values.ndim)):
            first = values.take([0], axis=axis)
            if np.equal(values, first).all():
                values = first.squeeze(axis)
                del names[axis]
        return Lookup(tuple(names), values)

    def spread(self, choices: Sequence[str]) -> NDArray[Any]:
        """The values with one axis per name in `choices`, broadcastable over those not its own."""
        order = sorted(range(len(self.choices)), key=lambda axis: choices.index(self.choices[axis]))
        shape = [1] * len(choices)
        for axis, name in enumerate(self.choices):
            shape[choices.index(name)] = self.values.shape[axis]
        return self.values.transpose(order).reshape(shape)

    def index(self, genotypes: NDArray[np.integer], column: Mapping[str, int]) -> NDArray[np.intp]:
        """Where in the flattened values every row of `genotypes` finds its entry, as `(n,)`."""
        index = np.zeros(len(genotypes), dtype=np.intp)
        for name, count in zip(self.choices, self.values.shape, strict=True):
            index *= count
            index += genotypes[:, column[name]]
        return index


class Lookups:
    """The entries of many lookups for whole populations: one matrix product says where they stand.

    Args:
        tables: At least one.
        column: Choice name -> its column in an array of genotypes.
    """

    def __init__(self, tables: Sequence[Lookup], column: Mapping[str, int]) -> None:
        self._values = np.concatenate([table.values.ravel() for table in tables])
        sizes = [table.values.size for table in tables]
        self._starts = np.cumsum([0, *sizes[:-1]])[:, None]
        # In float64, which BLAS multiplies and which is exact far beyond any table's size.
        self._strides = np.zeros((len(tables), len(column)))
        for strides, table in zip(self._strides, tables, strict=True):
            reach = table.values.size
            for name, count in zip(table.choices, table.values.shape, strict=True):
                reach //= count
                strides[column[name]] = reach

    def __call__(self, genotypes: NDArray[np.integer]) -> NDArray[Any]:
        """The entry of each table for every row of `genotypes` `(n, choices)`, `(tables, n)`."""
        place = (self._strides @ genotypes.T.astype(np.float64)).astype(np.intp)
        place += self._starts
        return self._values.take(place)


class _Unpicked(Exception):
    """Asked for a choice of which no option is picked yet."""


class _Picks(dict[str, int]):
    """Picks that ask for those that are missing."""

    def __missing__(self, name: str) -> int:
        raise _Unpicked(name)


def tabulate(
    what: str, counts: Mapping[str, int], value: Callable[[dict[str, int]], Any], dtype: Any
) -> Lookup:
    """`value(picks)` under every combination of the choices that it looks at.

    A choice is met when `value` reads its pick, so one that matters only where a block is present
    is never multiplied out where the block is absent.

    Args:
        what: What the value is of, for the error.
        counts: The number of options of every choice that `value` may look at.
        value: Reads the picks that it needs and nothing else that varies.
        dtype: Of the table.
    """
    leaves: list[tuple[_Picks, Any]] = []
    met: dict[str, int] = {}
    open_ = [_Picks()]
    while open_:
        picks = open_.pop()
        try:
            leaves.append((picks, value(picks)))
        except _Unpicked as asked:
            (name,) = asked.args
            met[name] = counts[name]
            _require_small(what, met)
            open_ += [_Picks(picks, **{name: i}) for i in reversed(range(counts[name]))]
    values = np.empty(tuple(met.values()), dtype=dtype)
    for picks, found in leaves:
        values[tuple(picks.get(name, slice(None)) for name in met)] = found
    return Lookup(tuple(met), values).minimal()


def _require_small(what: str, met: Mapping[str, int]) -> None:
    combinations = math.prod(met.values())
    if combinations > LARGEST_TABLE:
        raise SpaceTooLarge(
            f"{what} depends on at least {combinations:,} combinations of {', '.join(met)}; at "
            f"most {LARGEST_TABLE:,} can be tabulated, so give these choices fewer options, or let "
            "fewer meet in one kernel"
        )


def merged(tables: Sequence[Lookup]) -> list[Lookup]:
    """Fewer tables with the same sum: each joins the first that stays small with it."""
    result: list[Lookup] = []
    for table in sorted(tables, key=lambda t: -t.values.size):
        for position, host in enumerate(result):
            joined = _joined(host, table)
            if joined is not None:
                result[position] = joined
                break
        else:
            result.append(table)
    return result


def _joined(host: Lookup, table: Lookup) -> Lookup | None:
    """Both as one table, or None where that would be larger than the cache likes."""
    names = (*host.choices, *(name for name in table.choices if name not in host.choices))
    spread = [one.spread(names) for one in (host, table)]
    size = math.prod(np.broadcast_shapes(*(values.shape for values in spread)))
    if size > max(LARGEST_JOINED, host.values.size):
        return None
    return Lookup(names, spread[0] + spread[1])
