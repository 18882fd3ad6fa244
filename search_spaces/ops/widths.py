"""Functions that derive values from placeholders: a width from a ratio, presence from a depth."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from search_spaces.choice import derived_as
from search_spaces.ops.op import Size

Ratio = Annotated[float, Field(gt=0)]


@derived_as("search_spaces.ops:scaled")
def scaled(width: Size, ratio: Ratio, multiple: Size = 8) -> Size:
    """The product `width * ratio`, rounded to a multiple of `multiple`.

    The result is the nearest multiple that is at least `multiple` and at least 90 % of the product:
    the channel rounding of the MobileNet family (Howard et al. 2019).
    """
    rounded = max(multiple, int(width * ratio + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * width * ratio else rounded


@derived_as("search_spaces.ops:group_count")
def group_count(width: Size, group_width: Size) -> Size:
    """The number of groups of `group_width` channels in `width` channels.

    Raises:
        ValueError: If `group_width` does not divide `width`.
    """
    if width % group_width:
        raise ValueError(
            f"{width} channels are no whole number of groups of {group_width}; offer widths that "
            "are multiples of it"
        )
    return width // group_width


@derived_as("search_spaces.ops:deeper_than")
def deeper_than(depth: int, position: int) -> bool:
    """Whether the block at `position` (from 0) is among the first `depth` blocks of its stage."""
    return depth > position


@derived_as("search_spaces.ops:at_least_one")
def at_least_one(number: int) -> int:
    """`number`, or 1 if that is more: a width of an operator that is absent where `number` is 0."""
    return max(number, 1)


@derived_as("search_spaces.ops:inverse_root")
def inverse_root(length: Size) -> float:
    """One over the square root of `length`: the scale of attention with heads of that size."""
    return length**-0.5


@derived_as("search_spaces.ops:padding_behind")
def padding_behind(width: Size, read: Size, before: int) -> int:
    """The empty channels to add at the end, so that `read` channels become `width`.

    Args:
        width: The number of channels behind the padding.
        read: The number of channels in front of it.
        before: The number of empty channels that are added before the others.
    """
    return width - read - before
