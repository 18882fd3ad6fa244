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

    `search_spaces.ops.window.Windowed` describes the fields `kernel`, `stride`, `padding` and
    `dilation`.
    """

    absorbs: ClassVar[bool] = True
    mixes_channels: ClassVar[bool] = True
    bias: bool

    def out_of(self, channels: int) -> int:
        """The number of output channels for an input with so many `channels`."""
        raise NotImplementedError(f"{type(self).__name__} must define out_of")

    def groups_of(self, channels: int) -> int:
        """The number of groups, all of equal size, for an input with so many `channels`."""
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
    """Convolution of images; an output channel reads only the input channels of its own group.

    An elastic width uses the first channels of the shared weight. If the number of channels per
    group is constant (`groups=group_count(width, 8)`), a narrower convolution consists of the first
    groups of a wider one. If the number of groups is constant instead, the channels of a narrower
    convolution belong to other groups than the same channels of a wider one. Both convolutions
    still share their weights, and training has to fit these to both.
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

    @property
    def sums_all_channels(self) -> bool:
        return self.groups == 1

    def canonical(self) -> Self:
        return replace(super().canonical(), bias=False)

    def out_of(self, channels: int) -> int:
        return self.out

    def groups_of(self, channels: int) -> int:
        return self.groups

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        # A multiple of the groups too, so that the groups still divide the channels.
        multiple = math.lcm(multiple, self.groups)
        _, wider = super().padded(multiple, *inputs)
        return replace(self, out=filled_up(self.out, multiple)), wider


@dataclass(frozen=True)
class DepthwiseConv2d(Convolution, Op):
    """Depthwise convolution: one filter per channel, as many output channels as input channels."""

    kernel: Extent
    stride: Extent = 1
    padding: Padding = "same"
    dilation: Extent = 1
    weight: Quant | None = None
    activation: Quant | None = None
    bias: bool = False
    younger: ClassVar[frozenset[str]] = frozenset({"padding", "dilation", "bias"})
    mixes_channels: ClassVar[bool] = False
    channelwise: ClassVar[bool] = True

    def canonical(self) -> Self:
        return replace(super().canonical(), bias=False)

    def out_of(self, channels: int) -> int:
        return channels

    def groups_of(self, channels: int) -> int:
        return channels
