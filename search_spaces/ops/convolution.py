"""Convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from search_spaces.ops.op import Op, Parameter, Shape, Size, filled_up, per_channel
from search_spaces.ops.window import Extent, Padding, Windowed, image_of
from search_spaces.quant import Quant


class Convolution(Windowed):
    """Base of the convolutions: sums of products over a window and over the channels of a group.

    `search_spaces.ops.window.Windowed` says what the fields of the window may be.
    """

    absorbs: ClassVar[bool] = True
    mixes_channels: ClassVar[bool] = True
    bias: bool

    def out_of(self, channels: int) -> int:
        """The number of output channels where `channels` are read."""
        raise NotImplementedError(f"{type(self).__name__} must define out_of")

    def groups_of(self, channels: int) -> int:
        """The number of groups where `channels` are read; each reads and gives as many channels."""
        raise NotImplementedError(f"{type(self).__name__} must define groups_of")

    def infer(self, *inputs: Shape) -> Shape:
        channels, height, width = image_of(inputs[0], type(self).__name__)
        out, groups = self.out_of(channels), self.groups_of(channels)
        if channels % groups or out % groups:
            raise ValueError(
                f"{type(self).__name__} has {groups} groups, which do not divide the {channels} "
                f"channels that it reads and the {out} that it gives; offer widths that are "
                "multiples of the groups, or derive the groups from a width with group_count"
            )
        return (out, *self.window.over(height, width))

    def macs(self, *inputs: Shape) -> int:
        return math.prod(self.infer(*inputs)) * math.prod(
            self.deployed(*inputs)["weight"].shape[1:]
        )

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        deployed = self.deployed(*inputs)
        return deployed if self.bias else {"weight": deployed["weight"]}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        channels = inputs[0][0]
        out = self.out_of(channels)
        shape = (out, channels // self.groups_of(channels), *self.window.kernel)
        weight = Parameter(shape, ("out", "in", "window", "window"))
        return {"weight": weight, "bias": per_channel(out)}


@dataclass(frozen=True)
class Conv2d(Convolution, Op):
    """Convolution in `groups`: output channels of a group see the input channels of that group.

    An elastic width takes the first channels. Where groups have a constant number of channels and
    there are more or fewer of them (`groups=group_count(width, 8)`), a narrower convolution is
    exactly the first groups of a wider one. Where the number of groups is constant, channels of a
    narrower convolution lie in other groups than in a wider one: weights are shared between them
    all the same, and training sees to it that they serve both.
    """

    out: Size
    kernel: Extent
    stride: Extent = 1
    padding: Padding = "same"
    dilation: Extent = 1
    groups: Size = 1
    bias: bool = False
    weight: Quant | None = None
    activation: Quant | None = None
    younger: ClassVar[frozenset[str]] = frozenset({"padding", "dilation", "groups"})

    def canonical(self) -> Self:
        return replace(super().canonical(), bias=False)

    def out_of(self, channels: int) -> int:
        return self.out

    def groups_of(self, channels: int) -> int:
        return self.groups

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        # Groups stay alike, so that they still divide the channels.
        multiple = math.lcm(multiple, self.groups)
        _, wider = super().padded(multiple, *inputs)
        return replace(self, out=filled_up(self.out, multiple)), wider


@dataclass(frozen=True)
class DepthwiseConv2d(Convolution, Op):
    """One filter per channel; as many channels out as in."""

    kernel: Extent
    stride: Extent = 1
    padding: Padding = "same"
    dilation: Extent = 1
    weight: Quant | None = None
    activation: Quant | None = None
    younger: ClassVar[frozenset[str]] = frozenset({"padding", "dilation"})
    bias: ClassVar[bool] = False
    mixes_channels: ClassVar[bool] = False
    channelwise: ClassVar[bool] = True

    def out_of(self, channels: int) -> int:
        return channels

    def groups_of(self, channels: int) -> int:
        return channels
