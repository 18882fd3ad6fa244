"""Where the batch lies in a tensor of a call of torch, and how a node holds the same numbers.

A node of a graph holds a tensor with the batch as its first axis. A call of torch may have the
batch anywhere, alone or as a factor of an axis: attention reads `(tokens, batch, features)` and
multiplies `(batch * heads, tokens, size)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.ops import Read, Shape


@dataclass(frozen=True)
class Layout:
    """The place of the batch in the tensor of a call.

    Attributes:
        axis: The axis that holds the batch.
        before: How many places lie along the axis outside of the batch.
        behind: How many places lie along the axis for each sample, inside of the batch.
    """

    axis: int = 0
    before: int = 1
    behind: int = 1

    def sample(self, called: Sequence[int]) -> Shape:
        """The shape of a sample in a node that holds a tensor of the shape `called`."""
        factors = (n for n in (self.before, self.behind) if n > 1)
        return (*called[: self.axis], *factors, *called[self.axis + 1 :])

    def axes(self, rank: int) -> list[tuple[int, ...]]:
        """For each of `rank` axes of the call, the axes of a sample that hold its places."""
        found: list[tuple[int, ...]] = [(axis,) for axis in range(self.axis)]
        width = (self.before > 1) + (self.behind > 1)
        found.append(tuple(range(self.axis, self.axis + width)))
        found += [(axis + width - 1,) for axis in range(self.axis + 1, rank)]
        return found

    @property
    def is_plain(self) -> bool:
        """Whether the batch is the first axis, alone."""
        return self == Layout()

    def read(self, slot: int, called: Sequence[int]) -> Read:
        """The argument of an opaque call that is a tensor of this layout."""
        if self.is_plain:
            return Read(slot)
        shape = (*called[: self.axis], -1, *called[self.axis + 1 :])
        return Read(slot, self.axis, shape, self.before)


def viewed(
    layout: Layout, called: Sequence[int], into: Sequence[int], found: Layout
) -> Layout | None:
    """The layout of a tensor `called` once it is viewed as the shape `into`.

    Args:
        layout: The layout of the tensor before.
        called: The shape before.
        into: The shape after.
        found: The axis that holds the batch in `into`, with all of its places `behind`.

    Returns:
        The layout, or None if the view mixes samples with other places.
    """
    outer = math.prod(called[: layout.axis]) * layout.before
    before, rest = divmod(outer, math.prod(into[: found.axis]))
    if rest or not before or found.behind % before:
        return None
    return Layout(found.axis, before, found.behind // before)
