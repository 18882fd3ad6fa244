"""Windows that operators move over the height and the width of an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from search_spaces.choice import Choice, parts
from search_spaces.ops.op import Shape, Size

Margin = Annotated[int, Field(ge=0)]
Extent = Size | tuple[Size, Size]
Padding = Literal["same"] | Margin | tuple[Margin, Margin] | tuple[Margin, Margin, Margin, Margin]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pooling: the places of an image that each output reads.

    Attributes:
        kernel: The number of places of a window, `(height, width)`.
        stride: The distance from one window to the next, `(height, width)`.
        padding: The number of places added around the image, `(top, left, bottom, right)`.
        dilation: The distance from one place of a window to the next, `(height, width)`.
    """

    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair

    @property
    def places(self) -> int:
        """The number of places that one output reads."""
        return self.kernel[0] * self.kernel[1]

    @property
    def margins(self) -> Pair | None:
        """The padding along height and width; None where opposite sides differ."""
        top, left, bottom, right = self.padding
        return (top, left) if (top, left) == (bottom, right) else None

    def over(self, height: int, width: int) -> Pair:
        """The number of windows along the height and along the width of an image.

        Raises:
            ValueError: The padded image is smaller than one window.
        """
        top, left, bottom, right = self.padding
        free = [
            length - dilation * (kernel - 1) - 1
            for length, dilation, kernel in zip(
                (height + top + bottom, width + left + right),
                self.dilation,
                self.kernel,
                strict=True,
            )
        ]
        if min(free) < 0:
            raise ValueError(
                f"a window of {self.kernel} with dilation {self.dilation} does not fit an image of "
                f"{height}x{width} with padding {self.padding} (top, left, bottom, right); pad "
                "more, or give a smaller kernel"
            )
        return free[0] // self.stride[0] + 1, free[1] // self.stride[1] + 1


class Windowed:
    """Base of the operators with a window, which reads the window from the fields of the operator.

    Attributes:
        kernel: One number for both directions, or `(height, width)`.
        stride: One number for both directions, or `(height, width)`.
        padding: `"same"`, which adds `dilation * (kernel - 1) // 2` places on every side; or a
            number for all sides; or `(top and bottom, left and right)`; or
            `(top, left, bottom, right)`. An even kernel has no middle and needs numbers.
        dilation: One number for both directions, or `(height, width)`.

    Raises:
        ValueError: If the padding of an even kernel is `"same"`.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # of the operators, which are dataclasses
    kernel: Extent
    stride: Extent
    padding: Padding
    dilation: Extent

    def __post_init__(self) -> None:
        if self.padding == "same" and any(length % 2 == 0 for length in _numbers(self.kernel)):
            raise ValueError(
                f"{type(self).__name__} has the kernel {self.kernel}, which is even, so that "
                "padding 'same' has no meaning; give the padding in numbers, such as (top, left, "
                "bottom, right), or an odd kernel"
            )

    def canonical(self) -> Self:
        """The operator with its kernel, stride, padding and dilation in their shortest form.

        A kernel of (3, 3) becomes 3. A padding that equals the default of its field becomes the
        default: a padding of 1 around a kernel of 3 becomes `"same"` if that is the default.
        """
        window, defaults = self.window, {field.name: field.default for field in fields(self)}
        default = defaults.get("padding", MISSING)
        lengths: dict[str, Any] = {
            "kernel": shortest(window.kernel),
            "stride": shortest(window.stride),
            "dilation": shortest(window.dilation),
            "padding": shortest(window.padding),
        }
        is_even = any(length % 2 == 0 for length in window.kernel)
        if default is not MISSING and not (default == "same" and is_even):
            usual = _sides(default, window.kernel, window.dilation)
            lengths["padding"] = default if window.padding == usual else lengths["padding"]
        return replace(self, **{name: v for name, v in lengths.items() if name in defaults})

    @property
    def window(self) -> Window:
        """The window of the operator, with all lengths written out."""
        return _window(self.kernel, self.stride, self.padding, self.dilation)


def image_of(shape: Shape, reader: str) -> tuple[int, int, int]:
    """The channels, the height and the width of the shape of an image.

    Raises:
        ValueError: In the name of the operator `reader`, if the shape is not that of an image.
    """
    if len(shape) != 3:
        raise ValueError(
            f"{reader} reads images, (channels, height, width), given the shape {shape}; put a "
            "Reshape before it"
        )
    channels, height, width = shape
    return channels, height, width


def _numbers(kernel: object) -> Iterable[int]:
    """All lengths that a kernel can have, over all its options; derived values are left out."""
    if isinstance(kernel, int):
        return (kernel,)
    if isinstance(kernel, Choice | tuple):
        return [number for part in parts(kernel) for number in _numbers(part)]
    return ()


@lru_cache(maxsize=4096)
def _window(kernel: Extent, stride: Extent, padding: Padding, dilation: Extent) -> Window:
    pairs = pair(kernel), pair(stride), pair(dilation)
    return Window(pairs[0], pairs[1], _sides(padding, pairs[0], pairs[2]), pairs[2])


def shortest(lengths: tuple[int, ...]) -> int | tuple[int, ...]:
    """The shortest way to write lengths: (1, 1) as 1, (1, 2, 1, 2) as (1, 2)."""
    if len(set(lengths)) == 1:
        return lengths[0]
    half = len(lengths) // 2
    return lengths[:half] if lengths[:half] == lengths[half:] else lengths


def pair(extent: Extent) -> Pair:
    """The two lengths of an extent, `(height, width)`."""
    return (extent, extent) if isinstance(extent, int) else extent


def _sides(padding: Padding, kernel: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    match padding:
        case "same":
            top, left = (d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
            return top, left, top, left
        case int():
            return padding, padding, padding, padding
        case (int() as high, int() as wide):
            return high, wide, high, wide
        case (int() as top, int() as left, int() as bottom, int() as right):
            return top, left, bottom, right
    raise ValueError(
        "padding is 'same', one number, (height, width) or (top, left, bottom, right), given "
        f"{padding!r}"
    )
