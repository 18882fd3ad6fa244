"""The number formats in which a kernel computes on a device, by name.

A device's formats are those of `search_spaces.formats`, wider integers such as `int16`, and
`float`, its full precision. Target files, latency tables and reports hold these names.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass, replace

from search_spaces.formats import FORMATS, Float, Int
from search_spaces.ops import Op
from search_spaces.quant import FULL_PRECISION_BITS, Granularity, PerGroup, Quant, granularity_named

FULL = "float"
_INTEGERS = re.compile(r"u?int([1-9]|[12]\d|3[01])", re.ASCII)
_RANGE = re.compile(r"((?:u?int)?)(\d{1,2})(?:\.\.(\d{1,2}))?", re.ASCII)


@dataclass(frozen=True, order=True)
class Numerics:
    """The number formats in which a kernel computes.

    As text, `int4xuint8` is a weight of int4 with inputs of uint8, `uint8` an operator without a
    weight, and `int4-per-group-32xfloat` a weight whose groups of 32 input channels share a scale.

    Attributes:
        weight: The name of the weight's format, or None for an operator without a weight.
        activation: The name of the inputs' format.
        groups: The name of the weight's granularity where a scale belongs to a group of input
            channels, else empty: scales per tensor or per channel are applied to finished sums, so
            they do not make another kernel.
    """

    weight: str | None
    activation: str
    groups: str = ""

    def __str__(self) -> str:
        return self.activation if self.weight is None else f"{self.stored}x{self.activation}"

    @property
    def stored(self) -> str:
        """The name of the weight's format and of its groups; empty without a weight."""
        return "-".join(name for name in (self.weight, self.groups) if name)

    @property
    def plain(self) -> Numerics:
        """The same formats without groups."""
        return replace(self, groups="")

    @property
    def factors(self) -> Numerics:
        """The formats of the two factors of a product; without a weight, both are activations."""
        return Numerics(self.weight or self.activation, self.activation)

    @property
    def on_integers(self) -> bool:
        """Whether a kernel reads and writes integer codes, as between two layers."""
        names = [name for name in (self.weight, self.activation) if name is not None]
        return all(isinstance(FORMATS.get(name), Int) for name in names)

    @property
    def weight_bits(self) -> int:
        """Bits per element of the weight; 0 without a weight."""
        return 0 if self.weight is None else bits_in(self.weight)

    @property
    def activation_bits(self) -> int:
        """Bits per element of the inputs."""
        return bits_in(self.activation)

    @property
    def product(self) -> int:
        """Weight bits times activation bits, the work of one multiplication; weight 1 if None."""
        return (self.weight_bits or 1) * self.activation_bits

    @property
    def width(self) -> tuple[int, int]:
        """A key that orders kernels by the work of a multiplication, then by weight bits."""
        return self.product, self.weight_bits

    def holds(self, wanted: Numerics) -> bool:
        """Whether numbers in the formats `wanted` are also numbers of these formats."""
        return holds(self.weight, wanted.weight) and holds(self.activation, wanted.activation)

    def runs(self, wanted: Numerics) -> bool:
        """Whether kernels listed for these formats are those of `wanted`.

        A kernel listed for integers such as int8 also runs uint8, whose zero point is added to
        finished sums; a kernel listed for uint8 runs nothing else.
        """
        return _runs(self.weight, wanted.weight) and _runs(self.activation, wanted.activation)


def numerics_of(weight: str, activation: str) -> Numerics:
    """The numerics of a row: `stored` of the weight, empty without one, and the inputs' format.

    Raises:
        ValueError: If there is no such format or granularity.
    """
    name, _, groups = weight.partition("-")
    for held in filter(None, (name, activation)):
        bits_in(held)
    return Numerics(name or None, activation, granularity_named(groups).name if groups else "")


def of_bits(weight: int | None, activation: int) -> Numerics:
    """The numerics of integers of so many bits, where 32 bits are full precision."""
    return Numerics(None if weight is None else of_width(weight), of_width(activation))


def of_width(bits: int) -> str:
    """The name of integers of so many bits; 32 bits are full precision."""
    return FULL if bits == FULL_PRECISION_BITS else f"int{bits}"


def name_of(quant: Quant | None) -> str:
    """The name of the format of a tensor."""
    return FULL if quant is None else quant.name


def groups_of(granularity: Granularity) -> str:
    """The granularity's name where a scale belongs to a group of input channels, else empty."""
    return granularity.name if isinstance(granularity, PerGroup) else ""


def wanted(op: Op) -> Numerics:
    """The formats of a resolved operator's own precisions, before a device chooses containers."""
    has_weight = "weight" in type(op).__dataclass_fields__
    groups = "" if op.weight is None else groups_of(op.weight.granularity)
    return Numerics(name_of(op.weight) if has_weight else None, name_of(op.activation), groups)


@functools.cache
def bits_in(name: str) -> int:
    """The bits of an element in the format called `name`; 32 in full precision.

    Raises:
        ValueError: If there is no such format.
    """
    if (integers := _INTEGERS.fullmatch(name)) is not None:
        return int(integers[1])
    if name != FULL and name not in FORMATS:
        raise ValueError(
            f"{name!r} is no number format of a device; there are int1 to int31, uint1 to uint31, "
            f"{', '.join(n for n, f in FORMATS.items() if isinstance(f, Float))}, and {FULL} for "
            "full precision"
        )
    return FULL_PRECISION_BITS if name == FULL else FORMATS[name].bits


@functools.cache
def holds(name: str | None, wanted: str | None) -> bool:
    """Whether all numbers of the format `wanted` are numbers of the format `name`.

    Integers hold narrower integers, and floats of few bits hold those with fewer bits of exponent
    and of mantissa. Full precision holds integers, and so do floats without scales, as far as their
    mantissa reaches. A device that decodes floats of few bits says so by naming them. None is the
    format of no tensor and holds itself only.
    """
    if name is None or wanted is None or name == wanted:
        return name == wanted
    wide, narrow = FORMATS.get(name), FORMATS.get(wanted)
    if isinstance(narrow, Float):
        return isinstance(wide, Float) and (
            wide.exponent >= narrow.exponent and wide.mantissa >= narrow.mantissa
        )
    if isinstance(wide, Float):
        return not wide.scaled and isinstance(narrow, Int) and narrow.bits <= wide.mantissa + 1
    return bits_in(name) >= bits_in(wanted)


def _runs(name: str | None, wanted: str | None) -> bool:
    return name == wanted or (name is not None and wanted == f"u{name}")


def parse_numerics(text: str) -> tuple[Numerics, ...]:
    """The formats that a text of a target file stands for.

    `"int4xuint8"` is a weight of int4 with inputs of uint8, `"e4m3"` an operator without a weight,
    and the range `"int2..8xint2..8"` stands for every pair within it. A number alone is integers of
    so many bits, 32 full precision: files had no names of formats at first.

    Raises:
        ValueError: If the text has another form, or names a format that does not exist.
    """
    names = [_names(part) for part in text.split("x")]
    if len(names) > 2 or not all(names):
        raise ValueError(
            "formats are written 'weight x activation' such as 'int4xint8', 'e4m3xfloat' or "
            "'int2..8xint2..8', or 'int8' for operators without a weight, with integers of 1 to "
            f"31 bits, given {text!r}"
        )
    weights = names[0] if len(names) == 2 else (None,)
    return tuple(Numerics(w, a) for w, a in itertools.product(weights, names[-1]))


def _names(text: str) -> tuple[str, ...]:
    """The names of formats in a text such as `int8` or `int2..8`; empty in another form."""
    if text == FULL or text in FORMATS:
        return (text,)
    if (parts := _RANGE.fullmatch(text)) is None:
        return ()
    kind, low, high = parts[1], int(parts[2]), int(parts[3] or parts[2])
    if not 1 <= low <= high <= FULL_PRECISION_BITS or (kind and high == FULL_PRECISION_BITS):
        return ()
    widths = range(low, high + 1)
    return tuple(f"{kind}{bits}" if kind else of_width(bits) for bits in widths)
