"""Which rows of a table are about kernels like one that is missing."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from nas.targets.table.rows import KernelKey

_UNLIKE = 4.0  # another number of dimensions or inputs, or other operators behind: farther than
# sixteen times the channels, so that such rows come last


def nearest(key: KernelKey, rows: Iterable[KernelKey], *, count: int) -> list[KernelKey]:
    """Up to `count` of `rows` with the operator of `key`, by how far they are from it."""
    alike = [row for row in rows if row.operator == key.operator]
    return heapq.nsmallest(count, alike, key=lambda row: distance(key, row))


def distance(one: KernelKey, other: KernelKey) -> float:
    """The sum over shapes, channels, window, stride, bits and batch of their ratios in octaves."""
    shapes = [[part.split("x") for part in key.inputs.split("+")] for key in (one, other)]
    ranks = [[len(part) for part in parts] for parts in shapes]
    far = _UNLIKE * ((one.fused != other.fused) + (ranks[0] != ranks[1]))
    if ranks[0] == ranks[1]:
        for mine, theirs in zip(*shapes, strict=True):
            far += sum(_octaves(int(a), int(b)) for a, b in zip(mine, theirs, strict=True))
    for name in ("out", "kernel", "stride", "weight_bits", "activation_bits", "batch"):
        far += _octaves(getattr(one, name), getattr(other, name))
    return far


def _octaves(one: int, other: int) -> float:
    if 0 in (one, other):  # no weight at all, against some
        one, other = one + 1, other + 1
    return abs(math.log2(one / other))
