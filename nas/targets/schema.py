"""What a target file may hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from nas.targets.capability import Bits, Otherwise, parse_bits
from nas.targets.target import Provenance
from search_spaces.ops import Image, Op


def operator_types() -> dict[str, type[Op]]:
    """Every operator that a device can run, by class name."""
    return {kind.__name__: kind for kind in _below(Op) if kind is not Image}


def _below(kind: type[Op]) -> Iterator[type[Op]]:
    for lower in kind.__subclasses__():
        yield lower
        yield from _below(lower)


def bits_in(texts: Iterable[str]) -> tuple[Bits, ...]:
    """The widths that a list of texts such as `4x8` stands for."""
    return tuple(bits for text in texts for bits in parse_bits(text))


def _operator(name: str) -> str:
    if name not in operator_types():
        raise ValueError(f"no such operator; known are {', '.join(sorted(operator_types()))}")
    return name


def _bits(text: str) -> str:
    parse_bits(text)
    return text


Operator = Annotated[str, AfterValidator(_operator)]
BitsText = Annotated[str, AfterValidator(_bits)]
GranularityName = Literal["per-tensor", "per-channel"]
SymmetryName = Literal["symmetric", "asymmetric"]
Share = Annotated[float, Field(gt=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SupportsSection(_Section):
    """What some operators run natively."""

    operators: Annotated[list[Operator], Field(min_length=1)]
    bits: Annotated[list[BitsText], Field(min_length=1)]
    weight_granularity: list[GranularityName] = ["per-tensor", "per-channel"]
    weight_symmetry: list[SymmetryName] = ["symmetric", "asymmetric"]
    activation_granularity: list[GranularityName] = ["per-tensor", "per-channel"]
    activation_symmetry: list[SymmetryName] = ["symmetric", "asymmetric"]


class EnergySection(_Section):
    """Picojoules per multiply-accumulate by bits, and per byte moved."""

    pj_per_mac: Annotated[dict[BitsText, PositiveFloat], Field(min_length=1)]
    pj_per_byte: PositiveFloat


class RooflineSection(_Section):
    """The figures of an analytical target."""

    gmacs_per_s: Annotated[dict[BitsText, PositiveFloat], Field(min_length=1)]
    bandwidth_gb_per_s: PositiveFloat
    overhead_us: Annotated[float, Field(ge=0)]
    bit_serial: bool = False
    utilisation: dict[Operator, Share] = {}
    energy: EnergySection | None = None

    @model_validator(mode="after")
    def _one_base(self) -> RooflineSection:
        given = [self.gmacs_per_s, *([self.energy.pj_per_mac] if self.energy else [])]
        if self.bit_serial and any(len(figures) != 1 for figures in given):
            raise ValueError("bit_serial scales one figure to all bits; give one pair of bits only")
        return self


class TargetFile(_Section):
    """A whole target file: milliseconds, millijoules and bytes wherever no key says otherwise."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    device: str
    runtime: str
    provenance: Provenance
    source: str = ""
    otherwise: Otherwise
    supports: Annotated[list[SupportsSection], Field(min_length=1)]
    fusion: list[Annotated[list[Operator], Field(min_length=2)]] = []
    regions: list[Annotated[str, Field(min_length=1)]] = []
    roofline: RooflineSection | None = None
    table: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> TargetFile:
        if (self.provenance == "analytical") != (self.roofline is not None):
            raise ValueError("an analytical target has a roofline section, and only that one has")
        if (self.roofline is None) != (self.table is not None):
            raise ValueError("a measured or imported target names its table, and only those do")
        named = [name for section in self.supports for name in section.operators]
        if repeated := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"supports names {', '.join(repeated)} more than once; keep one")
        for section in self.supports:
            _check_weights(section)
        if self.roofline is not None:
            _check_peaks(self.roofline, self.supports)
        return self


def _check_weights(section: SupportsSection) -> None:
    """Operators with a weight need pairs, those without need single widths."""
    for name in section.operators:
        weighted = "weight" in operator_types()[name].__dataclass_fields__
        if any((bits.weight is None) == weighted for bits in bits_in(section.bits)):
            form = "pairs such as '8x8'" if weighted else "single widths such as '8'"
            raise ValueError(f"{name} takes bits as {form}, given {section.bits}")


def _check_peaks(roofline: RooflineSection, supports: list[SupportsSection]) -> None:
    """Every pair that is native needs figures, unless one is scaled to all."""
    native = {bits for part in supports for bits in bits_in(part.bits) if bits.weight}
    if roofline.bit_serial:
        return
    figures = {"gmacs_per_s": roofline.gmacs_per_s}
    if roofline.energy is not None:
        figures["energy.pj_per_mac"] = roofline.energy.pj_per_mac
    for key, given in figures.items():
        if set(bits_in(given)) != native:
            raise ValueError(
                f"roofline.{key} must hold exactly the native bits "
                f"{', '.join(map(str, sorted(native)))}, given {', '.join(given)}"
            )
