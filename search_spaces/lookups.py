"""Lookups: small arrays that hold a value for every combination of options of a few choices.

The shape or the cost of a node depends on a handful of choices. Once all combinations of those are
enumerated, the values for a whole population of genotypes are read by numpy indexing.
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
    """The error for a space with more combinations of options than can be tabulated."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """An array with one axis per choice.

    The entry `values[i, j, ...]` is for option `i` of `choices[0]`, option `j` of `choices[1]`, and
    so on. A lookup over no choice holds one entry.
    """

    choices: tuple[str, ...]
    values: NDArray[Any]

    def at(self, picks: Mapping[str, int]) -> Any:
        """The entry for `picks` (choice name -> option index)."""
        return self.values[tuple(picks[name] for name in self.choices)]

    def minimal(self) -> Lookup:
        """The same lookup without the choices on which no entry depends."""
        names, values = list(self.choices), self.values
        for axis in reversed(range(values.ndim)):
            first = values.take([0], axis=axis)
            if np.equal(values, first).all():
                values = first.squeeze(axis)
                del names[axis]
        return Lookup(tuple(names), values)

    def spread(self, choices: Sequence[str]) -> NDArray[Any]:
        """The values with one axis per name in `choices`, for broadcasting.

        Axes of choices that the lookup does not have get length 1.
        """
        order = sorted(range(len(self.choices)), key=lambda axis: choices.index(self.choices[axis]))
        shape = [1] * len(choices)
        for axis, name in enumerate(self.choices):
            shape[choices.index(name)] = self.values.shape[axis]
        return self.values.transpose(order).reshape(shape)

    def index(self, genotypes: NDArray[np.integer], column: Mapping[str, int]) -> NDArray[np.intp]:
        """The index into the flattened values for every row of `genotypes` `(n, choices)`, `(n,)`.

        Args:
            genotypes: Option indices.
            column: Choice name -> the column of the choice in `genotypes`.
        """
        index = np.zeros(len(genotypes), dtype=np.intp)
        for name, count in zip(self.choices, self.values.shape, strict=True):
            index *= count
            index += genotypes[:, column[name]]
        return index


class Lookups:
    """Many lookups at once: one matrix product computes where all entries stand.

    Args:
        tables: At least one lookup.
        column: Choice name -> the column of the choice in an array of genotypes.
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
        """The entry of each lookup for every row of `genotypes` `(n, choices)`, `(tables, n)`."""
        place = (self._strides @ genotypes.T.astype(np.float64)).astype(np.intp)
        place += self._starts
        return self._values.take(place)


class _Unpicked(Exception):
    """The signal that a choice was read of which no option is picked yet."""


class _Picks(dict[str, int]):
    """Picks that raise `_Unpicked` where a choice is missing."""

    def __missing__(self, name: str) -> int:
        raise _Unpicked(name)


def tabulate(
    what: str, counts: Mapping[str, int], value: Callable[[dict[str, int]], Any], dtype: Any
) -> Lookup:
    """The lookup of `value(picks)` over all combinations of the choices that `value` reads.

    A choice becomes an axis only when `value` reads its pick. A choice that matters only where a
    block is present is therefore not enumerated where the block is absent.

    Args:
        what: What the value belongs to, such as `node 'stem'`, for the error.
        counts: Choice name -> number of options, of every choice that `value` may read.
        value: A function of the picks (choice name -> option index) and of nothing else that
            varies.
        dtype: The dtype of the entries.

    Raises:
        SpaceTooLarge: If there are more than `LARGEST_TABLE` combinations.
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


def separated(table: Lookup) -> list[Lookup]:
    """Lookups over as few choices as possible with the same sum; all entries must be finite.

    Each is the part of the values that only those choices together explain, and is 0 where one of
    them has its first option. What is smaller than the rounding of sums is left out.
    """
    least = 1e-12 * float(np.abs(table.values).max(initial=0.0))
    parts = [table]
    for name in table.choices:
        split: list[Lookup] = []
        for part in parts:
            axis = part.choices.index(name)
            first = part.values.take([0], axis=axis)
            others = part.choices[:axis] + part.choices[axis + 1 :]
            split += [
                Lookup(others, first.squeeze(axis)),
                Lookup(part.choices, part.values - first),
            ]
        parts = [part for part in split if np.abs(part.values).max(initial=0.0) > least]
    return parts


def merged(tables: Sequence[Lookup]) -> list[Lookup]:
    """Fewer lookups with the same sum.

    Each lookup is added to the first one before it with which it makes a small array.
    """
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
    """The sum of both as one lookup, or None where that would not fit the processor's cache."""
    names = (*host.choices, *(name for name in table.choices if name not in host.choices))
    spread = [one.spread(names) for one in (host, table)]
    size = math.prod(np.broadcast_shapes(*(values.shape for values in spread)))
    if size > max(LARGEST_JOINED, host.values.size):
        return None
    return Lookup(names, spread[0] + spread[1])
