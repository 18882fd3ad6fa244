"""Small tables over few choices: what a value looks like under every combination that matters.

A node's shape or cost depends on a handful of choices. Enumerating those once turns any question
about a whole population of genotypes into numpy gathers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import Choice

LARGEST_TABLE = 2_000_000
LARGEST_JOINED = 1 << 13


@dataclass(frozen=True, eq=False)
class Table:
    """`values[i, j, ...]` under option `i` of `choices[0]`, option `j` of `choices[1]`, ..."""

    choices: tuple[str, ...]
    values: NDArray[Any]

    def at(self, picks: Mapping[str, int]) -> Any:
        """The entry under `picks` (choice name -> option index)."""
        return self.values[tuple(picks[name] for name in self.choices)]

    def minimal(self) -> Table:
        """The same table without the choices along which it does not vary."""
        names, values = list(self.choices), self.values
        for axis in reversed(range(values.ndim)):
            first = values.take([0], axis=axis)
            if np.equal(values, first).all():
                values = first.squeeze(axis)
                del names[axis]
        return Table(tuple(names), values)

    def spread(self, choices: Sequence[str]) -> NDArray[Any]:
        """The values with one axis per name in `choices`, broadcastable over those not its own."""
        order = sorted(range(len(self.choices)), key=lambda axis: choices.index(self.choices[axis]))
        shape = [1] * len(choices)
        for axis, name in enumerate(self.choices):
            shape[choices.index(name)] = self.values.shape[axis]
        return self.values.transpose(order).reshape(shape)

    def gather(self, genotypes: NDArray[np.integer], column: Mapping[str, int]) -> NDArray[Any]:
        """The entry for every row of `genotypes` `(n, choices)`, as `(n,)`."""
        if not self.choices:
            return np.full(len(genotypes), self.values[()], dtype=self.values.dtype)
        index = np.zeros(len(genotypes), dtype=np.intp)
        for name, count in zip(self.choices, self.values.shape, strict=True):
            index *= count
            index += genotypes[:, column[name]]
        return self.values.ravel().take(index)


def tabulate(
    what: str, choices: Sequence[Choice[Any]], value: Callable[[dict[str, int]], Any], dtype: Any
) -> Table:
    """`value(picks)` under every combination of `choices`, reduced to those it varies with."""
    named = {found.name: found for found in choices}
    counts = tuple(len(found.options) for found in named.values())
    if math.prod(counts) > LARGEST_TABLE:
        raise ValueError(
            f"{what} depends on {math.prod(counts)} combinations of {', '.join(named)}; "
            f"at most {LARGEST_TABLE} can be tabulated, so let fewer choices meet in one operator"
        )
    values = np.empty(counts, dtype=dtype)
    for indices in itertools.product(*map(range, counts)):
        values[indices] = value(dict(zip(named, indices, strict=True)))
    return Table(tuple(named), values).minimal()


def merged(tables: Sequence[Table], combine: np.ufunc) -> list[Table]:
    """Fewer tables with the same combined value: each joins the first that stays small with it."""
    result: list[Table] = []
    for table in sorted(tables, key=lambda t: -t.values.size):
        for position, host in enumerate(result):
            joined = _joined(host, table, combine)
            if joined is not None:
                result[position] = joined
                break
        else:
            result.append(table)
    return result


def _joined(host: Table, table: Table, combine: np.ufunc) -> Table | None:
    """Both as one table, or None where that would be larger than the cache likes."""
    names = (*host.choices, *(name for name in table.choices if name not in host.choices))
    spread = [one.spread(names) for one in (host, table)]
    size = math.prod(np.broadcast_shapes(*(values.shape for values in spread)))
    if size > max(LARGEST_JOINED, host.values.size):
        return None
    return Table(names, combine(*spread))
