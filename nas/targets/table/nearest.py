"""Which rows of a table are about kernels like one that is missing."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from nas.targets.table.operator_reader import OperatorReader
from nas.targets.table.operator_text import written_fields
from nas.targets.table.rows import KernelKey

_UNLIKE = 4.0  # another number of dimensions or inputs, a field that is no number and differs, or
# other operators behind: farther than sixteen times the channels, so that such rows come last
Place = tuple[object, ...]


class Neighbours:
    """The rows of a table by how far they are from a kernel.

    Args:
        rows: The rows.
    """

    def __init__(self, rows: Iterable[KernelKey]) -> None:
        self._reader = OperatorReader()
        self._places: dict[str, list[tuple[KernelKey, Place]]] = {}
        for row in rows:
            self._places.setdefault(row.operator, []).append((row, self._place(row)))

    def of(self, key: KernelKey, *, count: int) -> list[KernelKey]:
        """Up to `count` rows with the operator of `key`, by how far they are from it."""
        place = self._place(key)
        alike = ((_apart(place, other), row) for row, other in self._places.get(key.operator, ()))
        return [row for _, row in heapq.nsmallest(count, alike, key=lambda found: found[0])]

    def distance(self, one: KernelKey, other: KernelKey) -> float:
        """The sum over shapes, fields, bits and batch of their ratios in octaves."""
        return _apart(self._place(one), self._place(other))

    def _place(self, key: KernelKey) -> Place:
        """Shapes, bits and batch, the names behind the first operator, and its fields."""
        op = self._reader.operator(key.operator, key.fields)
        shapes = tuple(
            tuple(int(length) for length in part.split("x") if length)
            for part in key.inputs.split("+")
        )
        bits = (key.weight_bits, key.activation_bits, key.batch)
        held = tuple(getattr(op, name) for name in written_fields(type(op)))
        return (shapes, bits, key.fused, held)


def _apart(one: object, other: object) -> float:
    """How far two values are: octaves between numbers, their sum over tuples of one length."""
    if one == other:
        return 0.0
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return sum(map(_apart, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return _octaves(one, other)
    return _UNLIKE


def _octaves(one: float, other: float) -> float:
    if min(one, other) < 0:
        return _UNLIKE
    if 0 in (one, other):  # no weight at all, against some
        one, other = one + 1, other + 1
    return abs(math.log2(one / other))
