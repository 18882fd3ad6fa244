"""Number formats: integers and small floats, the numbers that a code of a few bits stands for.

A format knows nothing of scales: a quantized tensor holds `scale * (number - zero point)`, where
`number` is one of the format's numbers and the zero point is 0 for all but asymmetric integers.
Floats of 16 bits reach far enough without a scale: theirs is always one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import Spec

MINIMUM_BITS, MAXIMUM_BITS = 2, 8

Codes = NDArray[np.int8 | np.uint8 | np.uint16]
CodeType = type[np.int8] | type[np.uint8] | type[np.uint16]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Format(Spec):
    """Base of the number formats. A new format defines every member of this class.

    Attributes:
        bits: The bits of a code.
        name: The name in recipes, rows and reports, such as `int8`, `uint4` or `e4m3`.
        bounds: The least and the greatest number.
        symmetric: Whether the zero point is always 0.
        scaled: Whether tensors have scales of their own; if not, every scale is one.
        positives: How many numbers are greater than zero.
        code_type: The numpy type that holds a code.
        reach: How far beyond a bound a number still is nearest to the bound without saturation.
    """

    if TYPE_CHECKING:  # a property here would become the default of a field of the same name

        @property
        def bits(self) -> int: ...
        @property
        def name(self) -> str: ...
        @property
        def bounds(self) -> tuple[float, float]: ...
        @property
        def symmetric(self) -> bool: ...
        @property
        def scaled(self) -> bool: ...
        @property
        def positives(self) -> int: ...
        @property
        def reach(self) -> float: ...
        @property
        def code_type(self) -> CodeType: ...

    def snap(self, x: NDArray[Any]) -> Values:
        """The numbers of the format nearest to `x`; ties go to the even code.

        Numbers outside the bounds, infinities included, become the nearer bound (saturation).
        """
        raise NotImplementedError(f"{type(self).__name__} must define snap")

    def encode(self, x: NDArray[Any]) -> Codes:
        """The codes of the numbers nearest to `x`, which must not hold NaN."""
        raise NotImplementedError(f"{type(self).__name__} must define encode")

    def decode(self, codes: NDArray[np.integer]) -> Values:
        """The numbers that `codes` stand for."""
        raise NotImplementedError(f"{type(self).__name__} must define decode")


@dataclass(frozen=True)
class Int(Format):
    """Integers, which are their own codes.

    Symmetric codes are signed, from `-(2**(bits-1) - 1)` to `2**(bits-1) - 1`, with the zero point
    0. Asymmetric codes are unsigned, from `0` to `2**bits - 1`, with an integer zero point. Both
    represent the number zero exactly.

    Attributes:
        bits: The bits of a code, 2 to 8.
        symmetric: Whether codes are signed and the zero point is 0.

    Raises:
        ValueError: If the bit-width is out of range.
    """

    bits: int
    symmetric: bool = True
    scaled: ClassVar[bool] = True
    reach: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.bits, int) and not MINIMUM_BITS <= self.bits <= MAXIMUM_BITS:
            raise ValueError(
                f"Int bits must lie in {MINIMUM_BITS}..{MAXIMUM_BITS}, given {self.bits}; "
                "use None in place of the Quant for full precision"
            )

    @property
    def name(self) -> str:
        return f"{'int' if self.symmetric else 'uint'}{self.bits}"

    @property
    def code_type(self) -> CodeType:
        return np.int8 if self.symmetric else np.uint8

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and the highest code."""
        if self.symmetric:
            return -(2 ** (self.bits - 1)) + 1, 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1

    @property
    def bounds(self) -> tuple[float, float]:
        low, high = self.range
        return float(low), float(high)

    @property
    def positives(self) -> int:
        return self.range[1]

    def snap(self, x: NDArray[Any]) -> Values:
        return np.rint(x).clip(*self.bounds).astype(np.float32)

    def encode(self, x: NDArray[Any]) -> Codes:
        _require_numbers(self, x)
        return self.snap(x).astype(self.code_type)

    def decode(self, codes: NDArray[np.integer]) -> Values:
        return codes.astype(np.float32)


@dataclass(frozen=True)
class Float(Format):
    """Floating-point numbers of at most 16 bits, which saturate.

    The formats of at most 8 bits are those of the Open Compute Project: E4M3 and E5M2 of "OFP8"
    (revision 1.0, table 1), E3M2, E2M3 and E2M1 of "Microscaling Formats" (version 1.0, tables 2 to
    5). Those of 16 bits are `float16`, half precision of IEEE 754, and `bfloat16`, the upper half
    of a float32. A code is the sign, the exponent and the mantissa, from the highest bit to the
    lowest. E4M3, E5M2 and the formats of 16 bits have codes that stand for no finite number;
    `encode` never gives such a code.

    Attributes:
        exponent: The bits of the exponent.
        mantissa: The bits of the mantissa.

    Raises:
        ValueError: If there is no such format.
    """

    exponent: int
    mantissa: int
    symmetric: ClassVar[bool] = True

    def __post_init__(self) -> None:
        both = (self.exponent, self.mantissa)
        if all(isinstance(bits, int) for bits in both) and both not in _LARGEST:
            known = ", ".join(f"Float{one}" for one in _LARGEST)
            raise ValueError(f"there is no format Float{both}; there are {known}")

    @property
    def bits(self) -> int:
        return 1 + self.exponent + self.mantissa

    @property
    def name(self) -> str:
        usual = _USUAL_NAMES.get((self.exponent, self.mantissa))
        return usual or f"e{self.exponent}m{self.mantissa}"

    @property
    def scaled(self) -> bool:
        return self.bits <= MAXIMUM_BITS

    @property
    def code_type(self) -> CodeType:
        return np.uint8 if self.bits <= MAXIMUM_BITS else np.uint16

    @property
    def largest(self) -> float:
        """The greatest finite number."""
        return _LARGEST[self.exponent, self.mantissa]

    @property
    def smallest_normal(self) -> float:
        """The least positive number with a full mantissa."""
        return 2.0 ** (2 - 2 ** (self.exponent - 1))

    @property
    def bounds(self) -> tuple[float, float]:
        return -self.largest, self.largest

    @property
    def positives(self) -> int:
        return int(np.searchsorted(_magnitudes(self), self.largest))

    @property
    def reach(self) -> float:
        gap = 2.0 ** (math.floor(math.log2(self.largest)) - self.mantissa)
        return gap / 2

    def snap(self, x: NDArray[Any]) -> Values:
        held = x.astype(np.float32).clip(*self.bounds)
        power = (held.view(np.int32) & _EXPONENT).view(np.float32)
        quantum = np.maximum(power, np.float32(self.smallest_normal)) * 2.0**-self.mantissa
        return (np.rint(held / quantum) * quantum).astype(np.float32)

    def encode(self, x: NDArray[Any]) -> Codes:
        _require_numbers(self, x)
        snapped = self.snap(x)
        index = np.searchsorted(_magnitudes(self)[: self.positives + 1], np.abs(snapped))
        return (np.signbit(snapped) * 2 ** (self.bits - 1) + index).astype(self.code_type)

    def decode(self, codes: NDArray[np.integer]) -> Values:
        both = np.concatenate([_magnitudes(self), -_magnitudes(self)])
        return both[codes]


_EXPONENT = np.int32(0x7F800000)  # of a float32, whose other bits all zero give a power of two
_LARGEST = {
    (4, 3): 448.0,
    (5, 2): 57344.0,
    (3, 2): 28.0,
    (2, 3): 7.5,
    (2, 1): 6.0,
    (5, 10): 65504.0,
    (8, 7): 255 * 2.0**120,
}
_USUAL_NAMES = {(5, 10): "float16", (8, 7): "bfloat16"}
E4M3, E5M2, E3M2, E2M3, E2M1, FLOAT16, BFLOAT16 = (Float(*both) for both in _LARGEST)


@functools.cache
def _magnitudes(float_format: Float) -> Values:
    """The number of every code without its sign; infinity and NaN are behind the largest."""
    exponent, mantissa = float_format.exponent, float_format.mantissa
    codes = np.arange(2 ** (exponent + mantissa))
    power, share = codes >> mantissa, codes % 2**mantissa
    whole = np.where(power > 0, share + 2**mantissa, share)
    values = np.ldexp(float_format.smallest_normal, np.maximum(power, 1) - 1) * whole
    values = values / 2**mantissa
    beyond = values > float_format.largest
    infinite = beyond & (share == 0)  # as in IEEE 754; E4M3 has no such code
    return np.where(infinite, np.inf, np.where(beyond, np.nan, values)).astype(np.float32)


def _require_numbers(number_format: Format, x: NDArray[Any]) -> None:
    if np.isnan(x).any():
        raise ValueError(f"NaN has no code in {number_format.name}; encode numbers only")


def _every() -> Iterator[Format]:
    for symmetric in (True, False):
        for bits in range(MINIMUM_BITS, MAXIMUM_BITS + 1):
            yield Int(bits, symmetric)
    yield from (Float(*both) for both in _LARGEST)


FORMATS = {one.name: one for one in _every()}


def format_named(name: str) -> Format:
    """The format that is called `name`; raises `ValueError` with all names if there is none."""
    if name not in FORMATS:
        raise ValueError(f"{name!r} is no number format; there are {', '.join(FORMATS)}")
    return FORMATS[name]
