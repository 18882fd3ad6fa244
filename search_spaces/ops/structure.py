"""Operators that compute no new numbers: they concatenate tensors or change their shape.

A shape leaves the batch out, so axis 0 is the first axis behind the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from search_spaces.ops.op import Op, Shape
from search_spaces.ops.window import image_of
from search_spaces.quant import Quant

Several = Annotated[int, Field(ge=2)]
Axis = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=-1)]


@dataclass(frozen=True)
class Concat(Op):
    """Concatenation of any number of inputs along the channels, which are the first axis.

    If an elastic input is narrower, the channels of all later inputs move forward. The reader then
    applies weights to them that a wider network applies to other channels.
    """

    arity: Several = 2
    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        if len({shape[1:] for shape in inputs}) > 1 or not all(inputs):
            raise ValueError(
                f"Concat needs inputs that differ in channels only, given the shapes {inputs}; "
                "bring them to one size first"
            )
        return (sum(shape[0] for shape in inputs), *inputs[0][1:])

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)


@dataclass(frozen=True)
class Flatten(Op):
    """A view that joins all axes from `start` on into one axis.

    Channels come first, so the features of a narrower image are the first features of a wider image
    of the same height and width. Images of different sizes have different features: put a pooling
    to one size before the `Flatten` if a `Linear` behind it must share weights between sizes.
    """

    start: Axis = 0
    is_view: ClassVar[bool] = True
    keeps_values: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        shape = inputs[0]
        if self.start >= len(shape):
            raise ValueError(
                f"Flatten begins at axis {self.start} of the shape {shape}, which has "
                f"{len(shape)}; give a start below that"
            )
        return (*shape[: self.start], math.prod(shape[self.start :]))

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class Reshape(Op):
    """A view with another `shape`; one length may be -1, then it follows from the others."""

    shape: tuple[Length, ...]
    is_view: ClassVar[bool] = True
    keeps_values: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        elements, known = math.prod(inputs[0]), math.prod(n for n in self.shape if n != -1)
        left = elements // known if known else 0
        found = tuple(left if length == -1 else length for length in self.shape)
        if self.shape.count(-1) > 1 or math.prod(found) != elements:
            raise ValueError(
                f"Reshape cannot give {inputs[0]}, {elements} numbers, the shape {self.shape}; "
                "give lengths whose product is that number, one of which may be -1"
            )
        return found

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class DepthToSpace(Op):
    """Channels moved into places: `(c, h, w)` gives `(c / b^2, h * b, w * b)` with `b = block`.

    Each `b^2` neighbouring channels become one channel, as in torch's `pixel_shuffle` (Shi et al.
    2016, equation 4). A narrower operator therefore gives the first channels of a wider one. All
    widths in front must be multiples of `b^2`.
    """

    block: Several
    keeps_values: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = image_of(inputs[0], "DepthToSpace")
        if channels % self.block**2:
            raise ValueError(
                f"DepthToSpace with blocks of {self.block} reads a multiple of {self.block**2} "
                f"channels, given {channels}; offer such widths only in front"
            )
        return (channels // self.block**2, height * self.block, width * self.block)

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        return super().padded(math.lcm(multiple, self.block**2), *inputs)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class Permute(Op):
    """A reordering of axes: axis `i` of the output is axis `order[i]` of the input."""

    order: tuple[Axis, ...]
    keeps_values: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        if sorted(self.order) != [*range(len(inputs[0]))]:
            raise ValueError(
                f"Permute has the order {self.order}, given the shape {inputs[0]}; name each of "
                f"its {len(inputs[0])} axes once, from 0 on"
            )
        return tuple(inputs[0][axis] for axis in self.order)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]
