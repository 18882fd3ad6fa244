"""The precision of one tensor, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.choice import Spec, choice

FULL_PRECISION_BITS = 32
MINIMUM_BITS, MAXIMUM_BITS = 2, 8


@dataclass(frozen=True)
class Granularity(Spec):
    """Which elements of a tensor share one scale."""


@dataclass(frozen=True)
class PerTensor(Granularity):
    """One scale for the whole tensor: a weight `(out, in, k, k)` has a scale of shape `(1,)`."""


@dataclass(frozen=True)
class PerChannel(Granularity):
    """One scale per output channel: a weight `(out, in, k, k)` has a scale of shape `(out,)`."""


@dataclass(frozen=True)
class Quant(Spec):
    """Uniform integer quantization of one tensor; a field that holds `None` is full precision.

    Symmetric: signed codes with zero point 0 in the narrow range `-(2**(bits-1) - 1)` to
    `2**(bits-1) - 1`. Asymmetric: unsigned codes `0` to `2**bits - 1` with an integer zero point,
    so that zero is a code in both.
    """

    bits: int
    granularity: Granularity = PerTensor()
    symmetric: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.bits, int) and not MINIMUM_BITS <= self.bits <= MAXIMUM_BITS:
            raise ValueError(
                f"Quant bits must lie in {MINIMUM_BITS}..{MAXIMUM_BITS}, given {self.bits}; "
                "use None in place of the Quant for full precision"
            )

    @property
    def per_channel(self) -> bool:
        """Whether every output channel has a scale of its own, or one scale serves the tensor.

        Raises:
            ValueError: If the granularity is neither of the two that the engine knows.
        """
        match self.granularity:
            case PerChannel():
                return True
            case PerTensor():
                return False
            case unknown:
                raise ValueError(
                    f"granularity {unknown!r} is not known to quantizers, costs and files; give "
                    "PerTensor() or PerChannel()"
                )

    @property
    def code_range(self) -> tuple[int, int]:
        """The lowest and the highest integer code."""
        if self.symmetric:
            return -(2 ** (self.bits - 1)) + 1, 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1


def bits_of(quant: Quant | None) -> int:
    """Bits per element: `quant.bits`, or 32 where there is no quantization."""
    return FULL_PRECISION_BITS if quant is None else quant.bits


def precision(
    name: str,
    bits: Sequence[int | None],
    *,
    granularities: Sequence[Granularity] = (PerTensor(),),
    symmetries: Sequence[bool] = (True,),
) -> Quant | None:
    """A placeholder for one tensor's precision: bits outside, granularity and symmetry inside.

    `None` among `bits` is full precision. Granularity and symmetry are open only while a finite
    bit-width is picked, so that two genotypes that differ only there are one network.
    """
    granularity = choice(f"{name}.granularity", granularities)
    symmetric = choice(f"{name}.symmetric", symmetries)
    options = [None if b is None else Quant(b, granularity, symmetric) for b in bits]
    return choice(f"{name}.bits", options)
