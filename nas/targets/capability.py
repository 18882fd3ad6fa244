"""Capability of a device: the precisions that it runs natively, and what happens to all others."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from search_spaces.formats import Int
from search_spaces.ops import Op
from search_spaces.quant import FULL_PRECISION_BITS, PerChannel, PerTensor, Quant, bits_of

Otherwise = Literal["container", "refuse"]
GRANULARITIES = {"per-tensor": PerTensor, "per-channel": PerChannel}
SYMMETRIES = {"symmetric": True, "asymmetric": False}


@dataclass(frozen=True, order=True)
class Bits:
    """The bit-widths in which a kernel computes; 32 is full precision.

    As text, `4x8` is a 4-bit weight with 8-bit inputs, and `8` an operator without a weight.

    Attributes:
        weight: Bits per element of the weight, or None for an operator without a weight.
        activation: Bits per element of the inputs.
    """

    weight: int | None
    activation: int

    def __str__(self) -> str:
        return f"{self.activation}" if self.weight is None else f"{self.weight}x{self.activation}"

    @property
    def factors(self) -> Bits:
        """The widths of the two factors of a product; without a weight, both are activations."""
        return Bits(self.weight or self.activation, self.activation)

    def holds(self, wanted: Bits) -> bool:
        """Whether values with the widths `wanted` also fit these widths."""
        return (
            (self.weight is None) == (wanted.weight is None)
            and (self.weight or 0) >= (wanted.weight or 0)
            and self.activation >= wanted.activation
        )

    @property
    def product(self) -> int:
        """Weight bits times activation bits, the work of one multiplication; weight 1 if None."""
        return (self.weight or 1) * self.activation


def parse_bits(text: str) -> tuple[Bits, ...]:
    """The bit-widths that a text of a target file stands for.

    `"4x8"` is a 4-bit weight with 8-bit inputs, `"8"` an operator without a weight, and the range
    `"2..8x2..8"` stands for every pair within it.

    Raises:
        ValueError: If the text has another form, or a width is not in 1..32.
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
    """The widths of a text such as `8` or `2..8`; empty where the text has another form."""
    ends = [int(end) if end.isascii() and end.isdecimal() else 0 for end in text.split("..")]
    in_order = len(ends) <= 2 and 1 <= ends[0] <= ends[-1] <= FULL_PRECISION_BITS
    return tuple(range(ends[0], ends[-1] + 1)) if in_order else ()


@dataclass(frozen=True)
class Formats:
    """The integer formats that a device accepts for one tensor; full precision is always accepted.

    Attributes:
        granularities: The accepted granularities, as classes: which elements share a scale.
        symmetries: Whether symmetric (True) and asymmetric (False) quantization are accepted.
    """

    granularities: frozenset[type] = frozenset(GRANULARITIES.values())
    symmetries: frozenset[bool] = frozenset(SYMMETRIES.values())

    def allow(self, quant: Quant | None) -> bool:
        """Whether `quant` is among the accepted formats."""
        return quant is None or (
            isinstance(quant.format, Int)
            and type(quant.granularity) in self.granularities
            and quant.format.symmetric in self.symmetries
        )


@dataclass(frozen=True)
class Support:
    """The precisions in which a device runs one class of operators natively.

    Attributes:
        bits: The pairs of weight and activation bits for which there are kernels.
        weight: The accepted formats of the weight.
        activation: The accepted formats of the inputs.
    """

    bits: tuple[Bits, ...]
    weight: Formats = Formats()
    activation: Formats = Formats()


@dataclass(frozen=True)
class Capability:
    """The operators and precisions that a device can run.

    Attributes:
        supports: Operator class name -> native bits and formats. An operator whose class is not
            listed runs as the nearest listed class from which it derives; fusion does the same.
            Without such a class, the operator is refused.
        otherwise: What happens to bits that are not native. `"container"`: the operator computes in
            the smallest native bits that hold its weight and its inputs. `"refuse"`: the network is
            refused. A granularity or symmetry that is not listed is refused in both cases.
    """

    supports: Mapping[str, Support]
    otherwise: Otherwise

    def container(self, op: Op) -> Bits | None:
        """The bits in which a resolved operator computes, or None where it is refused."""
        support = self._of(op)
        if support is None:
            return None
        if not (support.weight.allow(op.weight) and support.activation.allow(op.activation)):
            return None
        return _smallest(support.bits, wanted(op), self.otherwise)

    def native(self, op: Op) -> tuple[Bits, ...]:
        """The bits for which the device has kernels of this operator, whatever its precision."""
        support = self._of(op)
        return () if support is None else support.bits

    def _of(self, op: Op) -> Support | None:
        names = (kind.__name__ for kind in type(op).__mro__)
        return next((self.supports[name] for name in names if name in self.supports), None)

    def refusal(self, op: Op) -> str:
        """The reason why a resolved operator is refused, with the bits that would run instead."""
        name, support = type(op).__name__, self._of(op)
        if support is None:
            return f"{name} is not among {', '.join(sorted(self.supports))}"
        return (
            f"{name} runs at {', '.join(map(str, support.bits))} bits "
            f"({self.otherwise} otherwise), given {wanted(op)} with weight {op.weight} "
            f"and activation {op.activation}"
        )


def wanted(op: Op) -> Bits:
    """The bits of a resolved operator's own precisions, before a device puts them in containers."""
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
