"""Operators that compute no new numbers: they concatenate tensors or change their shape.

A shape leaves the batch out, so axis 0 is the first axis behind the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from search_spaces.ops.op import Axis, Op, Shape, Size
from search_spaces.ops.window import image_of
from search_spaces.quant import Quant

Several = Annotated[int, Field(ge=2)]
Length = Annotated[int, Field(ge=-1)]
Filling = Literal["value", "reflect", "edge"]


@dataclass(frozen=True)
class Concat(Op):
    """Concatenation of any number of inputs along an axis; the channels are the first axis.

    If an elastic input is narrower, the channels of all later inputs move forward. The reader then
    applies weights to them that a wider network applies to other channels, unless `whole` is given:
    the reader then uses the first weights of each input.

    Attributes:
        arity: The number of inputs.
        activation: The precision of the inputs.
        axis: The axis.
        whole: The length of each input along the axis in the widest network; see
            `search_spaces.runs`.
    """

    arity: Several = 2
    activation: Quant | None = None
    axis: Axis = 0
    whole: tuple[Size, ...] | None = None
    younger: ClassVar[frozenset[str]] = frozenset({"axis", "whole"})

    def canonical(self) -> Self:
        return replace(self, whole=None)

    def infer(self, *inputs: Shape) -> Shape:
        at = self.axis
        others = {(*shape[:at], *shape[at + 1 :]) for shape in inputs}
        if len(others) > 1 or any(len(shape) <= at for shape in inputs):
            raise ValueError(
                f"Concat needs inputs that differ along axis {at} only, given the shapes {inputs}; "
                "bring them to one size first"
            )
        lengths = tuple(shape[at] for shape in inputs)
        if self.whole is not None and not _fit(lengths, self.whole):
            raise ValueError(
                f"Concat has inputs of the lengths {lengths} and widest ones of {self.whole}; give "
                "one length for each input, and none that is shorter"
            )
        joined = sum(lengths)
        return (*inputs[0][:at], joined, *inputs[0][at + 1 :])

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)


def _fit(lengths: Shape, whole: Shape) -> bool:
    """Whether no length is above that of the widest network."""
    return len(lengths) == len(whole) and all(a <= b for a, b in zip(lengths, whole, strict=True))


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

    @property
    def homogeneous(self) -> bool:
        return True

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


@dataclass(frozen=True)
class Slice(Op):
    """The places `start`, `start + step`, ... along an axis, up to and without `stop`.

    The channels of a narrower input keep their numbers, so a slice of channels needs an input of
    at least `stop` channels.

    Raises:
        ValueError: If `stop` is not above `start`.
    """

    axis: Axis
    start: Axis
    stop: Size
    step: Size = 1
    keeps_values: ClassVar[bool] = True

    def __post_init__(self) -> None:
        numbers = isinstance(self.start, int) and isinstance(self.stop, int)
        if numbers and self.start >= self.stop:
            raise ValueError(
                f"Slice is from {self.start} to {self.stop}, which holds nothing; give a stop "
                "above the start"
            )

    def infer(self, *inputs: Shape) -> Shape:
        lengths = [*inputs[0]]
        if self.axis >= len(lengths) or self.stop > lengths[self.axis]:
            raise ValueError(
                f"Slice takes {self.start} to {self.stop} of axis {self.axis}, given the shape "
                f"{inputs[0]}; give an axis and a stop within it"
            )
        lengths[self.axis] = math.ceil((self.stop - self.start) / self.step)
        return tuple(lengths)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class Pad(Op):
    """Places added before and behind the numbers of each axis.

    Attributes:
        before: How many places are added in front, for each axis.
        behind: How many places are added at the end, for each axis.
        mode: The numbers there: `value`, or those of the tensor, mirrored without the edge
            (`reflect`) or those of its `edge`.
        value: The number of the mode `value`.

    Raises:
        ValueError: If `before` and `behind` differ in their number of axes.
    """

    before: tuple[Axis, ...]
    behind: tuple[Axis, ...]
    mode: Filling = "value"
    value: float = 0.0
    keeps_values: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.before) != len(self.behind):
            raise ValueError(
                f"Pad adds {self.before} before and {self.behind} behind; give a number for each "
                "axis in both"
            )

    def infer(self, *inputs: Shape) -> Shape:
        lengths = inputs[0]
        if len(lengths) != len(self.before):
            raise ValueError(
                f"Pad adds places to {len(self.before)} axes, given the shape {lengths}; give one "
                "number for each axis"
            )
        most = max((*self.before, *self.behind), default=0)
        pairs = [*zip(lengths, self.before, self.behind, strict=True)]
        if self.mode == "reflect" and any(max(b, e) >= n for n, b, e in pairs if b or e):
            raise ValueError(
                f"Pad mirrors up to {most} places of the shape {lengths}, which has no more; pad "
                "less than a side"
            )
        return tuple(before + length + behind for length, before, behind in pairs)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0] and (self.mode != "value" or self.value >= 0)
