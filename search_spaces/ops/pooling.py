"""Pooling operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.ops.op import Op, Shape
from search_spaces.ops.window import Extent, Padding, Windowed, image_of
from search_spaces.quant import Quant


@dataclass(frozen=True)
class GlobalPool(Op):
    """Global average pooling over height and width: `(c, h, w)` becomes `(c, 1, 1)`."""

    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        channels, _, _ = image_of(inputs[0], "GlobalPool")
        return (channels, 1, 1)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


class Pooling(Windowed):
    """Base of the pooling operators with a window, which reduce each channel on its own.

    `search_spaces.ops.window.Windowed` describes the fields `kernel`, `stride` and `padding`.
    """

    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        name, window = type(self).__name__, self.window
        channels, height, width = image_of(inputs[0], name)
        top, left, bottom, right = window.padding
        if max(top, bottom) >= window.kernel[0] or max(left, right) >= window.kernel[1]:
            raise ValueError(
                f"{name} has the padding {window.padding} (top, left, bottom, right), so that a "
                f"window of {window.kernel} would lie outside of the image; pad less than a window"
            )
        return (channels, *window.over(height, width))

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class MaxPool2d(Pooling, Op):
    """Max pooling: the largest number of each window, where places of the padding do not count."""

    kernel: Extent
    stride: Extent
    padding: Padding = 0
    activation: Quant | None = None
    dilation: ClassVar[int] = 1
    keeps_values: ClassVar[bool] = True


@dataclass(frozen=True)
class AvgPool2d(Pooling, Op):
    """Average pooling over windows; padding counts as zeros, torch's `count_include_pad=True`."""

    kernel: Extent
    stride: Extent
    padding: Padding = 0
    activation: Quant | None = None
    dilation: ClassVar[int] = 1
