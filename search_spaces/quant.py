"""The precision of a tensor: the number format, and which elements share a scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import Spec, choice, is_open
from search_spaces.formats import Format, Int

FULL_PRECISION_BITS = 32

Shape = tuple[int, ...]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class ScaleFormat(Spec):
    """Base of the formats in which scales are stored; float32 itself unless redefined."""

    @property
    def name(self) -> str:
        """The name in recipes and files."""
        return "float32"

    @property
    def bits(self) -> int:
        """The bits of a stored scale."""
        return 32

    def snap(self, scales: NDArray[Any]) -> Values:
        """The positive numbers of the format nearest to positive `scales`."""
        return scales.astype(np.float32)


@dataclass(frozen=True)
class Float32(ScaleFormat):
    """Scales in float32."""


@dataclass(frozen=True)
class Float16(ScaleFormat):
    """Scales in IEEE half precision; subnormals are avoided, since they have few digits."""

    @property
    def name(self) -> str:
        return "float16"

    @property
    def bits(self) -> int:
        return 16

    def snap(self, scales: NDArray[Any]) -> Values:
        held = np.finfo(np.float16)
        return scales.clip(held.tiny, held.max).astype(np.float16).astype(np.float32)


@dataclass(frozen=True)
class PowerOfTwo(ScaleFormat):
    """Scales that are powers of two, the format E8M0 of "OCP Microscaling Formats" (table 7).

    Nearest means the least ratio. Powers below `2**-126` are left out, since float32 has them as
    subnormals only.
    """

    @property
    def name(self) -> str:
        return "e8m0"

    @property
    def bits(self) -> int:
        return 8

    def snap(self, scales: NDArray[Any]) -> Values:
        share, exponent = np.frexp(scales.astype(np.float32))  # a share is at least a half
        nearest = np.where(share < 0.5**0.5, exponent - 1, exponent).clip(-126, 127)
        return np.ldexp(np.float32(1.0), nearest)


@dataclass(frozen=True)
class One(ScaleFormat):
    """Scales that are always one and take no room, as those of floats of 16 bits."""

    @property
    def name(self) -> str:
        return "one"

    @property
    def bits(self) -> int:
        return 0

    def snap(self, scales: NDArray[Any]) -> Values:
        return np.ones(scales.shape, np.float32)


@dataclass(frozen=True)
class Granularity(Spec):
    """Base of the granularities, which say which elements of a tensor share a scale.

    A new granularity defines `name` and `blocks`.

    Attributes:
        single: Whether the whole tensor shares one scale.
        by_channel: Whether no block has elements of two output channels.
    """

    single: ClassVar[bool] = False
    by_channel: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name in recipes and files."""
        raise NotImplementedError(f"{type(self).__name__} must define name")

    @property
    def scale(self) -> ScaleFormat:
        """The format of the scales."""
        return Float32()

    def blocks(self, shape: Shape) -> Shape:
        """The size, along every axis of a tensor of this `shape`, of a block that shares a scale.

        Raises:
            ValueError: If no whole number of blocks fits the shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define blocks")

    def counts(self, shape: Shape) -> Shape:
        """The shape of the scales: the number of blocks along every axis."""
        return tuple(n // b for n, b in zip(shape, self.blocks(shape), strict=True))

    def split(self, shape: Shape) -> tuple[Shape, Shape]:
        """The shapes in which the scales of a tensor of this `shape` broadcast over the tensor.

        Returns:
            The shape of the tensor, in which an axis of several blocks of several elements becomes
            two axes, and the shape of the scales.
        """
        tensor: list[int] = []
        scales: list[int] = []
        for length, block in zip(shape, self.blocks(shape), strict=True):
            several = 1 < block < length
            tensor.extend((length // block, block) if several else (length,))
            scales.extend((length // block, 1) if several else (length // block,))
        return tuple(tensor), tuple(scales)


@dataclass(frozen=True)
class PerTensor(Granularity):
    """A single scale for a tensor: a weight `(out, in, k, k)` has scales of shape `(1,)`."""

    single: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "per-tensor"

    def blocks(self, shape: Shape) -> Shape:
        return shape

    def counts(self, shape: Shape) -> Shape:
        return (1,)


@dataclass(frozen=True)
class PerChannel(Granularity):
    """One scale per output channel: a weight `(out, in, k, k)` has scales of shape `(out,)`."""

    by_channel: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "per-channel"

    def blocks(self, shape: Shape) -> Shape:
        return (1, *shape[1:])

    def counts(self, shape: Shape) -> Shape:
        return shape[:1]


@dataclass(frozen=True)
class PerGroup(Granularity):
    """One scale per output channel and group of neighbouring input channels.

    A weight `(out, in, k, k)` has scales of shape `(out, in / size, 1, 1)`: a group has the whole
    window of its input channels.

    Attributes:
        size: The number of input channels of a group.
        scale: The format of the scales.

    Raises:
        ValueError: If `size` is below 1.
    """

    size: int
    scale: ScaleFormat = Float32()
    by_channel: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.size, int) and self.size < 1:
            raise ValueError(f"a group has at least one input channel, given size {self.size}")

    @property
    def name(self) -> str:
        stored = "" if self.scale == Float32() else f"-{self.scale.name}"
        return f"per-group-{self.size}{stored}"

    def blocks(self, shape: Shape) -> Shape:
        if len(shape) < 2 or shape[1] % self.size:
            raise ValueError(
                f"{self.name} needs a weight whose number of input channels is a multiple of "
                f"{self.size}, given the shape {shape}; give this weight PerChannel()"
            )
        return (1, self.size, *shape[2:])


_SCALES = {one.name: one for one in (Float32(), Float16(), PowerOfTwo())}
_GRANULARITIES: dict[str, Granularity] = {one.name: one for one in (PerTensor(), PerChannel())}


def granularity_named(name: str) -> Granularity:
    """The granularity that is called `name`, such as `per-channel` or `per-group-32-float16`.

    Raises:
        ValueError: If there is none; all are listed.
    """
    if name in _GRANULARITIES:
        return _GRANULARITIES[name]
    size, _, scale = name.removeprefix("per-group-").partition("-")
    scale = scale or Float32().name
    if not (name.startswith("per-group-") and size.isdecimal() and scale in _SCALES):
        raise ValueError(
            f"{name!r} is no granularity; there are {', '.join(_GRANULARITIES)} and per-group-SIZE "
            f"such as per-group-32, with -{', -'.join(_SCALES)} behind it for the format of scales"
        )
    return PerGroup(int(size), _SCALES[scale])


@dataclass(frozen=True)
class Quant(Spec):
    """Quantization of a tensor; `None` in place of a `Quant` is full precision.

    Attributes:
        format: The numbers that codes stand for, before scaling.
        granularity: Which elements share a scale; `PerTensor()` for a format without scales.

    Raises:
        ValueError: If `format` is no number format, or has no scales to share.
    """

    format: Format
    granularity: Granularity = PerTensor()

    def __post_init__(self) -> None:
        if not isinstance(self.format, Format) and not is_open(self.format):
            raise ValueError(
                f"a Quant takes a number format such as Int(8) or Float(4, 3), given {self.format}"
            )
        scaled = is_open(self.format) or self.format.scaled
        if not scaled and self.granularity != PerTensor():
            raise ValueError(
                f"numbers of {self.format.name} have no scales, so none are shared; leave out the "
                f"granularity, given {self.granularity}"
            )

    @property
    def bits(self) -> int:
        """The bits of a code."""
        return self.format.bits

    @property
    def name(self) -> str:
        """The name of the format, such as `int8`, `uint8`, `e4m3` or `float16`."""
        return self.format.name

    @property
    def scales(self) -> ScaleFormat:
        """The format in which scales are stored."""
        return self.granularity.scale if self.format.scaled else One()

    @property
    def integers(self) -> Int:
        """The format of integer codes.

        Raises:
            ValueError: If the format is another one.
        """
        if isinstance(self.format, Int):
            return self.format
        raise ValueError(
            f"format {self.name} is not known here, where codes are integers; give Int(bits)"
        )


def bits_of(quant: Quant | None) -> int:
    """The bits per element: `quant.bits`, or 32 without quantization."""
    return FULL_PRECISION_BITS if quant is None else quant.bits


def precision(
    name: str,
    options: Sequence[int | Format | None],
    *,
    granularities: Sequence[Granularity] = (PerTensor(),),
    symmetries: Sequence[bool] = (True,),
) -> Quant | None:
    """A placeholder for the precision of a tensor: up to three nested choices.

    The outer choice, `NAME.bits`, picks the bit-width or the number format. The inner choices are
    `NAME.granularity`, open where the picked option has scales, and `NAME.symmetric`, open where a
    bit-width is picked. Genotypes that differ only in closed choices are the same network.

    Args:
        name: The first part of the names of the choices.
        options: The options: bit-widths of integers, number formats, and `None` for full precision.
        granularities: The granularities to choose from.
        symmetries: The values of `symmetric` to choose from.
    """
    granularity = choice(f"{name}.granularity", granularities)
    symmetric = choice(f"{name}.symmetric", symmetries)

    def quant(option: int | Format | None) -> Quant | None:
        if option is None:
            return None
        if isinstance(option, int):
            return Quant(Int(option, symmetric), granularity)
        return Quant(option, granularity) if option.scaled else Quant(option)

    return choice(f"{name}.bits", [quant(option) for option in options])
