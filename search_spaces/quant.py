"""The precision of a tensor: bit-width, granularity and symmetry of its quantization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.choice import Spec, choice

FULL_PRECISION_BITS = 32
MINIMUM_BITS, MAXIMUM_BITS = 2, 8


@dataclass(frozen=True)
class Granularity(Spec):
    """Base of the granularities, which say which elements of a tensor share a scale."""


@dataclass(frozen=True)
class PerTensor(Granularity):
    """A single scale for a tensor: a weight `(out, in, k, k)` has a scale of shape `(1,)`."""


@dataclass(frozen=True)
class PerChannel(Granularity):
    """One scale per output channel: a weight `(out, in, k, k)` has a scale of shape `(out,)`."""


@dataclass(frozen=True)
class Quant(Spec):
    """Uniform integer quantization of a tensor; `None` in place of a `Quant` is full precision.

    Symmetric quantization has signed codes from `-(2**(bits-1) - 1)` to `2**(bits-1) - 1` and the
    zero point 0. Asymmetric quantization has unsigned codes from `0` to `2**bits - 1` and an
    integer zero point. Both represent the number zero exactly.

    Attributes:
        bits: The bit-width of the codes, 2 to 8.
        granularity: Which elements share a scale.
        symmetric: Whether the codes are signed and the zero point is 0.

    Raises:
        ValueError: If the bit-width is out of range.
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
        """Whether every output channel has its own scale; False if the whole tensor shares a scale.

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
    """The bits per element: `quant.bits`, or 32 without quantization."""
    return FULL_PRECISION_BITS if quant is None else quant.bits


def precision(
    name: str,
    bits: Sequence[int | None],
    *,
    granularities: Sequence[Granularity] = (PerTensor(),),
    symmetries: Sequence[bool] = (True,),
) -> Quant | None:
    """A placeholder for the precision of a tensor: up to three nested choices.

    The outer choice, `NAME.bits`, picks the bit-width. The inner choices, `NAME.granularity` and
    `NAME.symmetric`, are open only if a bit-width other than `None` is picked, since they mean
    nothing in full precision: genotypes that differ only there are the same network.

    Args:
        name: The first part of the names of the choices.
        bits: The bit-widths to choose from; `None` is full precision.
        granularities: The granularities to choose from.
        symmetries: The values of `symmetric` to choose from.
    """
    granularity = choice(f"{name}.granularity", granularities)
    symmetric = choice(f"{name}.symmetric", symmetries)
    options = [None if b is None else Quant(b, granularity, symmetric) for b in bits]
    return choice(f"{name}.bits", options)
