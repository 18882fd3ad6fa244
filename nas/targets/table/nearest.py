"""The search for rows of a table whose kernels are similar to a missing kernel."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterable

from nas.targets.numerics import FULL
from nas.targets.table.operator_reader import OperatorReader
from nas.targets.table.operator_text import written_fields
from nas.targets.table.rows import KernelKey

# The distance of keys with different numbers of dimensions or inputs, different operators behind
# the first, or a different field that is no number. Sixteen times the channels are as far, so that
# such rows come last.
_UNLIKE = 4.0
Place = tuple[object, ...]


class Neighbours:
    """An index of the rows of a table that finds the rows nearest to a kernel.

    Args:
        rows: The keys of the rows.
    """

    def __init__(self, rows: Iterable[KernelKey]) -> None:
        self._reader = OperatorReader()
        self._places: dict[str, list[tuple[KernelKey, Place]]] = {}
        for row in rows:
            self._places.setdefault(row.operator, []).append((row, self._place(row)))

    def of(self, key: KernelKey, *, count: int) -> list[KernelKey]:
        """Up to `count` rows with the same operator as `key`, the nearest first."""
        place = self._place(key)
        alike = ((_apart(place, other), row) for row, other in self._places.get(key.operator, ()))
        return [row for _, row in heapq.nsmallest(count, alike, key=lambda found: found[0])]

    def distance(self, one: KernelKey, other: KernelKey) -> float:
        """The distance of two keys: ratios of shapes, fields, bits and batch, summed in octaves."""
        return _apart(self._place(one), self._place(other))

    def _place(self, key: KernelKey) -> Place:
        """The parts of a key that are compared.

        These are shapes, bits and batch, the kinds of formats, the names of the operators behind
        the first, and the fields of the first.
        """
        op = self._reader.operator(key.operator, key.fields)
        shapes = tuple(
            tuple(int(length) for length in part.split("x") if length)
            for part in key.inputs.split("+")
        )
        numerics = key.numerics
        bits = (numerics.weight_bits, numerics.activation_bits, key.batch)
        formats = (_kind(key.weight), _kind(key.activation))
        held = tuple(getattr(op, name) for name in written_fields(type(op)))
        return (shapes, bits, formats, key.fused, held)


def _kind(name: str) -> str:
    """The kind of a format: its name without bits; full precision counts as wide integers."""
    return "int" if name == FULL else re.sub(r"^(u?int)\d+", r"\1", name)


def _apart(one: object, other: object) -> float:
    """The distance of two values: octaves between numbers, summed over tuples of equal length."""
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
    if 0 in (one, other):  # the bits of an operator without a weight
        one, other = one + 1, other + 1
    return abs(math.log2(one / other))
