"""Windows that operators move over the height and the width of an image."""

from __future__ import annotations

from collections.abc import Iterator
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
    """The places of an image that one output reads, and where the windows of all outputs lie.

    Attributes:
        kernel: Places read along height and width.
        stride: Steps from one window to the next along height and width.
        padding: Places added around the image: top, left, bottom, right.
        dilation: Steps from one place of a window to the next along height and width.
    """

    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair

    @property
    def places(self) -> int:
        """How many places one output reads."""
        return self.kernel[0] * self.kernel[1]

    @property
    def margins(self) -> Pair | None:
        """The padding along height and width; None where opposite sides differ."""
        top, left, bottom, right = self.padding
        return (top, left) if (top, left) == (bottom, right) else None

    def over(self, height: int, width: int) -> Pair:
        """How many windows there are along the height and the width of an image.

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
    """Base of the operators with a window; the fields of the operator say which.

    `kernel`, `stride` and `dilation` are one number, or one along height and one along width.
    `padding` is `"same"`, which adds `dilation * (kernel - 1) // 2` on every side of the image; one
    number for all sides; one for top and bottom and one for left and right; or four: top, left,
    bottom, right. An even kernel has no middle, so that its padding must be given in numbers.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # of the operators, which are dataclasses
    kernel: Extent
    stride: Extent
    padding: Padding
    dilation: Extent

    def __post_init__(self) -> None:
        even = [length for length in _numbers(self.kernel) if length % 2 == 0]
        if self.padding == "same" and even:
            raise ValueError(
                f"{type(self).__name__} has the kernel {self.kernel}, which is even, so that "
                "padding 'same' has no meaning; give the padding in numbers, such as (top, left, "
                "bottom, right), or an odd kernel"
            )

    def canonical(self) -> Self:
        """The operator with every length in its shortest form, and padding by default if it is.

        A kernel of (3, 3) becomes 3, and a padding of 1 around such a kernel becomes `"same"`.
        """
        window, defaults = self.window, {field.name: field.default for field in fields(self)}
        default = defaults.get("padding", MISSING)
        shortest: dict[str, Any] = {
            "kernel": _shortest(window.kernel),
            "stride": _shortest(window.stride),
            "dilation": _shortest(window.dilation),
            "padding": _shortest(window.padding),
        }
        is_even = any(length % 2 == 0 for length in window.kernel)
        if default is not MISSING and not (default == "same" and is_even):
            usual = _sides(default, window.kernel, window.dilation)
            shortest["padding"] = default if window.padding == usual else shortest["padding"]
        return replace(self, **{name: v for name, v in shortest.items() if name in defaults})

    @property
    def window(self) -> Window:
        """The window, every length written out."""
        return _window(self.kernel, self.stride, self.padding, self.dilation)


def image_of(shape: Shape, reader: str) -> tuple[int, int, int]:
    """Channels, height and width of a shape; `ValueError` in the name of `reader` if it is none."""
    if len(shape) != 3:
        raise ValueError(
            f"{reader} reads images, (channels, height, width), given the shape {shape}; put a "
            "Reshape before it"
        )
    channels, height, width = shape
    return channels, height, width


def _numbers(kernel: object) -> Iterator[int]:
    """The lengths that a kernel can have, as far as no derived value hides them."""
    if isinstance(kernel, int):
        yield kernel
    elif isinstance(kernel, Choice | tuple):
        for part in parts(kernel):
            yield from _numbers(part)


@lru_cache(maxsize=4096)
def _window(kernel: Extent, stride: Extent, padding: Padding, dilation: Extent) -> Window:
    pairs = _pair(kernel), _pair(stride), _pair(dilation)
    return Window(pairs[0], pairs[1], _sides(padding, pairs[0], pairs[2]), pairs[2])


def _shortest(lengths: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number where all are equal, and half of them where these stand there twice."""
    if len(set(lengths)) == 1:
        return lengths[0]
    half = len(lengths) // 2
    return lengths[:half] if lengths[:half] == lengths[half:] else lengths


def _pair(extent: Extent) -> Pair:
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
