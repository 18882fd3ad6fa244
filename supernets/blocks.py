"""Blocks of a tensor, the elements that share a scale, as the rows of a matrix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

from torch import Tensor

from search_spaces.ops import Role, Shape
from search_spaces.quant import Granularity


@lru_cache(maxsize=4096)
def blocks_of(granularity: Granularity, shape: Shape, roles: tuple[Role, ...]) -> Shape:
    """The size of a block along every axis of a shared weight, whose axes may be factors.

    Args:
        granularity: Which elements share a scale.
        shape: The shape of the weight, with heads and their features as axes of their own.
        roles: The meaning of each axis.

    Raises:
        ValueError: If a block of the weight as a device stores it, where channels are one axis,
            cuts through factors.
    """
    whole = [[*lengths] for lengths in _products(shape, roles)]
    blocks = granularity.blocks(tuple(map(math.prod, whole)))
    split: list[int] = []
    for lengths, block in zip(whole, blocks, strict=True):
        left = block
        found: list[int] = []
        for length in reversed(lengths):
            part = math.gcd(left, length)
            if part not in (left, length):
                raise ValueError(
                    f"{granularity.name} takes {block} neighbours of an axis that is a product "
                    f"of {lengths}, and {block} cuts through it; give a group that divides "
                    f"{lengths[-1]}, or PerChannel()"
                )
            found.append(part)
            left //= part
        split.extend(reversed(found))
    return tuple(split)


def _products(shape: Shape, roles: tuple[Role, ...]) -> list[list[int]]:
    """The lengths of the axes, those of one role of channels together, as a device stores them."""
    pairs = [*zip(shape, roles, strict=True)]
    found: list[list[int]] = []
    for role, group in itertools.groupby(pairs, key=lambda pair: pair[1]):
        lengths = [length for length, _ in group]
        found.extend([[n] for n in lengths] if role == "window" else [lengths])
    return found


def counts_of(shape: Shape, blocks: Shape) -> Shape:
    """The number of blocks along every axis."""
    return tuple(n // b for n, b in zip(shape, blocks, strict=True))


def to_rows(x: Tensor, blocks: Shape) -> Tensor:
    """The tensor `x` as `(number of blocks, elements of a block)`."""
    counts = counts_of(tuple(x.shape), blocks)
    if _are_runs(counts, blocks):
        return x.reshape(math.prod(counts), -1)
    pairs = [n for pair in zip(counts, blocks, strict=True) for n in pair]
    order = (*range(0, len(pairs), 2), *range(1, len(pairs), 2))
    return x.reshape(pairs).permute(order).reshape(math.prod(counts), -1)


def from_rows(rows: Tensor, shape: Sequence[int], blocks: Shape) -> Tensor:
    """The tensor of this `shape` whose `to_rows` is `rows`."""
    counts, axes = counts_of(tuple(shape), blocks), len(shape)
    if _are_runs(counts, blocks):
        return rows.reshape(tuple(shape))
    order = [n for axis in range(axes) for n in (axis, axes + axis)]
    return rows.reshape(*counts, *blocks).permute(order).reshape(tuple(shape))


@lru_cache(maxsize=4096)
def _are_runs(counts: Shape, blocks: Shape) -> bool:
    """Whether each block is a run of neighbours, as a channel is: no block is cut by later axes."""
    first = next((axis for axis, length in enumerate(blocks) if length > 1), len(blocks))
    return all(count == 1 for count in counts[first + 1 :])
