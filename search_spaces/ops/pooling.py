"""Pooling operators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from search_spaces.ops.op import Axis, Op, Shape
from search_spaces.ops.window import Extent, Padding, Windowed, image_of, pair, shortest
from search_spaces.quant import Quant


@dataclass(frozen=True)
class GlobalPool(Op):
    """Global average pooling over height and width: `(c, h, w)` becomes `(c, 1, 1)`."""

    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    @property
    def homogeneous(self) -> bool:
        return True

    def infer(self, *inputs: Shape) -> Shape:
        channels, _, _ = image_of(inputs[0], "GlobalPool")
        return (channels, 1, 1)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class AdaptiveAvgPool2d(Op):
    """Average pooling to `size` windows, one number for both sides or `(height, width)`.

    Window `i` of `n` over a side of length `l` is from `floor(i * l / n)` up to, and without,
    `ceil((i + 1) * l / n)`, as in torch; windows may overlap, and repeat pixels of a small image.
    """

    size: Extent
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    @property
    def homogeneous(self) -> bool:
        return True

    def canonical(self) -> Self:
        return replace(self, size=shortest(pair(self.size)))

    def infer(self, *inputs: Shape) -> Shape:
        channels, _, _ = image_of(inputs[0], "AdaptiveAvgPool2d")
        return (channels, *pair(self.size))

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class Mean(Op):
    """The mean over `axes`, which stay as axes of length 1 if `keeps` is true, or else vanish.

    Raises:
        ValueError: If `axes` is empty or repeats an axis.
    """

    axes: tuple[Axis, ...]
    keeps: bool = False
    activation: Quant | None = None

    def __post_init__(self) -> None:
        if isinstance(self.axes, tuple) and len({*self.axes}) != max(len(self.axes), 1):
            raise ValueError(f"Mean is over the axes {self.axes}; name one or more, each once")

    def infer(self, *inputs: Shape) -> Shape:
        if max(self.axes) >= len(inputs[0]):
            raise ValueError(
                f"Mean is over the axes {self.axes} of the shape {inputs[0]}, which has "
                f"{len(inputs[0])}; axes count from 0"
            )
        pairs = [*enumerate(inputs[0])]
        if self.keeps:
            return tuple(1 if axis in self.axes else length for axis, length in pairs)
        return tuple(length for axis, length in pairs if axis not in self.axes)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


class Pooling(Windowed):
    """Base of the pooling operators with a window, which reduce each channel on its own.

    `search_spaces.ops.window.Windowed` describes the fields `kernel`, `stride` and `padding`.
    """

    channelwise: ClassVar[bool] = True

    @property
    def homogeneous(self) -> bool:
        return True

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
    """Average pooling over windows.

    Attributes:
        counts_padding: Whether padding counts as zeros, torch's `count_include_pad=True`; if not,
            the mean is over the places of a window that lie within the image.
    """

    kernel: Extent
    stride: Extent
    padding: Padding = 0
    activation: Quant | None = None
    counts_padding: bool = True
    younger: ClassVar[frozenset[str]] = frozenset({"counts_padding"})
    dilation: ClassVar[int] = 1
