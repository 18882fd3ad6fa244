"""What a device runs natively, and what it does with the rest."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from search_spaces.ops import Op
from search_spaces.quant import FULL_PRECISION_BITS, PerChannel, PerTensor, Quant, bits_of

Otherwise = Literal["container", "refuse"]
GRANULARITIES = {"per-tensor": PerTensor, "per-channel": PerChannel}
SYMMETRIES = {"symmetric": True, "asymmetric": False}


@dataclass(frozen=True, order=True)
class Bits:
    """The widths that a kernel computes in; 32 is full precision.

    Attributes:
        weight: Bits per weight, or None for operators without one.
        activation: Bits per element read.
    """

    weight: int | None
    activation: int

    def __str__(self) -> str:
        return f"{self.activation}" if self.weight is None else f"{self.weight}x{self.activation}"

    def holds(self, wanted: Bits) -> bool:
        """Whether every value of `wanted` fits in these widths."""
        return (
            (self.weight is None) == (wanted.weight is None)
            and (self.weight or 0) >= (wanted.weight or 0)
            and self.activation >= wanted.activation
        )

    @property
    def product(self) -> int:
        """Weight bits times activation bits: the work of one multiplication."""
        return (self.weight or 1) * self.activation


def parse_bits(text: str) -> tuple[Bits, ...]:
    """The widths that `text` stands for.

    `"4x8"` is 4-bit weights on 8-bit activations, `"8"` an operator without a weight, and a range
    `"2..8x2..8"` every pair within it.
    """
    widths = [_widths(part) for part in text.split("x")]
    if len(widths) > 2 or not all(widths):
        raise ValueError(
            "bits are written 'weight x activation' such as '4x8' or '2..8x2..8', or '8' for "
            f"operators without a weight, each in 1..{FULL_PRECISION_BITS}, given {text!r}"
        )
    weights = widths[0] if len(widths) == 2 else (None,)
    return tuple(Bits(w, a) for w, a in itertools.product(weights, widths[-1]))


def _widths(text: str) -> tuple[int, ...]:
    """One width or a range of them; empty where `text` is neither."""
    ends = [int(end) if end.isascii() and end.isdecimal() else 0 for end in text.split("..")]
    in_order = len(ends) <= 2 and 1 <= ends[0] <= ends[-1] <= FULL_PRECISION_BITS
    return tuple(range(ends[0], ends[-1] + 1)) if in_order else ()


@dataclass(frozen=True)
class Formats:
    """The number formats of one tensor: which scales may be shared how, with or without zero point.

    Full precision has neither and is always within.
    """

    granularities: frozenset[type] = frozenset(GRANULARITIES.values())
    symmetries: frozenset[bool] = frozenset(SYMMETRIES.values())

    def allow(self, quant: Quant | None) -> bool:
        """Whether `quant` is one of them."""
        return quant is None or (
            type(quant.granularity) in self.granularities and quant.symmetric in self.symmetries
        )


@dataclass(frozen=True)
class Support:
    """What one class of operators runs natively."""

    bits: tuple[Bits, ...]
    weight: Formats = Formats()
    activation: Formats = Formats()


@dataclass(frozen=True)
class Capability:
    """What a device runs, by the operator's class name; what is not listed does not run at all.

    Attributes:
        supports: Operator class name -> its native bits and formats. An operator that is not listed
            itself runs as the nearest class that it derives from, as it fuses.
        otherwise: What happens to bits that are not native: they run in the smallest native
            "container" that holds both weight and activation, or the target "refuse"s them.
            Granularity and symmetry have no container: an unlisted one is refused.
    """

    supports: Mapping[str, Support]
    otherwise: Otherwise

    def container(self, op: Op) -> Bits | None:
        """The bits that a resolved operator computes in, or None where it is refused."""
        support = self._of(op)
        if support is None:
            return None
        if not (support.weight.allow(op.weight) and support.activation.allow(op.activation)):
            return None
        return _smallest(support.bits, wanted(op), self.otherwise)

    def native(self, op: Op) -> tuple[Bits, ...]:
        """The bits that there are kernels for, whatever those the operator asks for."""
        support = self._of(op)
        return () if support is None else support.bits

    def _of(self, op: Op) -> Support | None:
        names = (kind.__name__ for kind in type(op).__mro__)
        return next((self.supports[name] for name in names if name in self.supports), None)

    def refusal(self, op: Op) -> str:
        """Why a resolved operator is refused, and what would run instead."""
        name, support = type(op).__name__, self._of(op)
        if support is None:
            return f"{name} is not among {', '.join(sorted(self.supports))}"
        return (
            f"{name} runs at {', '.join(map(str, support.bits))} bits "
            f"({self.otherwise} otherwise), given {wanted(op)} with weight {op.weight} "
            f"and activation {op.activation}"
        )


def wanted(op: Op) -> Bits:
    """The bits that a resolved operator asks for."""
    has_weight = any(field.name == "weight" for field in fields(op))
    return Bits(bits_of(op.weight) if has_weight else None, bits_of(op.activation))


@functools.lru_cache(maxsize=4096)
def _smallest(native: tuple[Bits, ...], asked: Bits, otherwise: Otherwise) -> Bits | None:
    if asked in native:
        return asked
    holding = [bits for bits in native if bits.holds(asked)]
    if otherwise == "refuse" or not holding:
        return None
    return min(holding, key=lambda bits: (bits.product, bits.weight or 0))
