"""What a target file may hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from nas.saturation import EightBitWeights
from nas.targets.capability import Bits, Otherwise, parse_bits
from nas.targets.operator_names import operator_types
from nas.targets.target import Provenance

Given = TypeVar("Given")
TABLE_SUFFIXES = (".csv", ".parquet")
MOST = 64  # texts about bits, each of which may stand for a thousand pairs
FULL_PRECISION = {"float32": 32, "float16": 16, "bfloat16": 16}


def bits_in(texts: Iterable[str]) -> tuple[Bits, ...]:
    """The widths that a list of texts such as `4x8` stands for."""
    return tuple(bits for text in texts for bits in parse_bits(text))


def by_bits(figures: Mapping[str, Given]) -> dict[Bits, Given]:
    """One figure per width, where one is given for a text such as `2..4x8`."""
    return {bits: figure for text, figure in figures.items() for bits in parse_bits(text)}


def _operator(name: str) -> str:
    if name not in operator_types():
        raise ValueError(f"no such operator; known are {', '.join(sorted(operator_types()))}")
    return name


def _bits(text: str) -> str:
    parse_bits(text)
    return text


def _once(figures: dict[str, Given]) -> dict[str, Given]:
    given = Counter(bits_in(figures))
    if repeated := [str(bits) for bits, count in given.items() if count > 1]:
        raise ValueError(f"gives {', '.join(repeated)} more than once; keep one")
    return figures


def _words(text: str) -> str:
    if not all(letter.isprintable() or letter == "\n" for letter in text):
        raise ValueError("holds control characters; write it in plain letters")
    return text


def _as_words(value: Any) -> Any:
    """Numbers and dates as text; anything else is left to be refused."""
    return str(value) if type(value) in (int, float, bool) or isinstance(value, date) else value


def _below(path: str) -> str:
    forms = (PurePosixPath(path), PureWindowsPath(path))
    if any(form.drive or form.root or ".." in form.parts for form in forms) or "\0" in path:
        raise ValueError(
            "a file lies beside its target file or in a folder below; move it there and name it "
            "relative to the target file, without '..'"
        )
    return path


def _beside(path: str) -> str:
    if PurePosixPath(_below(path)).suffix not in TABLE_SUFFIXES:
        raise ValueError(f"a table ends in {' or '.join(TABLE_SUFFIXES)}")
    return path


Operator = Annotated[str, AfterValidator(_operator)]
BitsText = Annotated[str, AfterValidator(_bits)]
Words = Annotated[str, AfterValidator(_words)]
NoteName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9 ._-]*$")]
Note = Annotated[
    Words,
    BeforeValidator(_as_words),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
GranularityName = Literal["per-tensor", "per-channel"]
SymmetryName = Literal["symmetric", "asymmetric"]
Number = Annotated[float, Field(strict=True)]
Share = Annotated[Number, Field(ge=1e-6, le=1)]
# The ends lie far beyond any device: what is outside them is in another unit.
Rate = Annotated[Number, Field(ge=1e-9, le=1e9)]
Bandwidth = Annotated[Number, Field(ge=1e-9, le=1e6)]
Microseconds = Annotated[Number, Field(ge=0, le=1e7)]
Picojoules = Annotated[Number, Field(ge=0, le=1e9)]
Bytes = Annotated[Number, Field(gt=0, le=1e15)]
Multiple = Annotated[int, Field(strict=True, ge=1, le=4096)]
PerBits = Annotated[
    dict[BitsText, Rate], Field(min_length=1, max_length=MOST), AfterValidator(_once)
]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class SupportsSection(_Section):
    """What some operators run natively."""

    operators: Annotated[list[Operator], Field(min_length=1)]
    """Those that this section is about, by class name; each in one section only."""
    bits: Annotated[list[BitsText], Field(min_length=1, max_length=MOST)]
    """Native widths: '4x8' is weight x activation, '8' for no weight, '2..8x8' a range."""
    weight_granularity: list[GranularityName] = ["per-tensor", "per-channel"]
    """What may share a weight's scale."""
    weight_symmetry: list[SymmetryName] = ["symmetric", "asymmetric"]
    """Whether weights may have a zero point."""
    activation_granularity: list[GranularityName] = ["per-tensor", "per-channel"]
    """What may share the scale of what the operators read."""
    activation_symmetry: list[SymmetryName] = ["symmetric", "asymmetric"]
    """Whether what they read may have a zero point."""


class CastSection(_Section):
    """What converting a tensor between unlike neighbours costs, once per tensor and format."""

    overhead_us: Microseconds
    """Microseconds per conversion."""
    bandwidth_gb_per_s: Bandwidth
    """10^9 bytes per second, read and written."""


class MemorySection(_Section):
    """Hard limits in bytes; none where left out."""

    total_bytes: Bytes | None = None
    """On the stored model and its peak activation together."""
    activation_bytes: Bytes | None = None
    """On the peak activation."""
    model_bytes: Bytes | None = None
    """On the stored model."""


class EnergySection(_Section):
    """Picojoules per multiply-accumulate by bits, and per byte moved."""

    pj_per_mac: PerBits
    """For every native pair, or for one where bit_serial."""
    pj_per_byte: Picojoules
    """Per byte that crosses the chip's border."""
    pj_per_on_chip_byte: Picojoules = 0.0
    """Per byte that a kernel reads or writes, wherever it lies."""


class RooflineSection(_Section):
    """The figures of an analytical target."""

    gmacs_per_s: PerBits
    """Peak rate in 10^9 multiply-accumulates per second, for every native pair."""
    bandwidth_gb_per_s: Bandwidth
    """10^9 bytes per second across the chip's border."""
    overhead_us: Microseconds
    """Microseconds added to every kernel."""
    bit_serial: bool = False
    """One pair is given; other rates are in inverse proportion to weight x activation bits."""
    utilisation: dict[Operator, Share] = {}
    """Share of the peak that an operator reaches; 1 where it is not named."""
    channel_multiple: Annotated[
        dict[BitsText, Multiple], Field(max_length=MOST), AfterValidator(_once)
    ] = {}
    """What channels are padded to a multiple of, by bits; 1 where they are not named."""
    on_chip_bytes: Bytes | None = None
    """A kernel whose tensors fit moves only its weights across the chip's border."""
    on_chip_gb_per_s: Bandwidth | None = None
    """10^9 bytes per second on the chip; no limit where left out."""
    energy: EnergySection | None = None
    """What kernels use; gives the cost energy_mj."""

    @model_validator(mode="after")
    def _consistent(self) -> RooflineSection:
        given = [self.gmacs_per_s, *([self.energy.pj_per_mac] if self.energy else [])]
        if self.bit_serial and any(len(bits_in(figures)) != 1 for figures in given):
            raise ValueError("bit_serial scales one figure to all bits; give one pair of bits only")
        if self.on_chip_gb_per_s is not None and self.on_chip_bytes is None:
            raise ValueError("on_chip_gb_per_s needs on_chip_bytes; add it, or remove both")
        return self


class TransferSection(_Section):
    """What a predicted target's figures follow from; docs/formats.md describes the two files."""

    known: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Shipped targets by name, or target files, relative to this file."""
    space: Annotated[str, AfterValidator(_below)]
    """The search space of the measured networks, beside this file or below."""
    measured: Annotated[str, AfterValidator(_below)]
    """The measured networks, a CSV file beside this file or below."""


class TargetFile(_Section):
    """A whole target file: milliseconds, millijoules and bytes wherever no key says otherwise."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """What recipes, reports and file names call it."""
    device: Annotated[Words, Field(min_length=1)]
    """The hardware, in words."""
    runtime: Annotated[Words, Field(min_length=1)]
    """What runs the model there, in words."""
    provenance: Provenance
    """How the figures came about; reports repeat it."""
    source: Words = ""
    """Where they come from, in words."""
    otherwise: Otherwise
    """Bits that are not native run in the smallest native pair that holds them, or are refused."""
    storage: Literal["packed", "container"] = "packed"
    """Weights are stored at their own bits, or at those that compute them."""
    full_precision: Literal["float32", "float16", "bfloat16"] = "float32"
    """The number format of what is not quantized."""
    eight_bit_weights: EightBitWeights = "unsigned"
    """How 8-bit weights meet quantized inputs in an ONNX file: unsigned computes the same on every
    processor; signed is faster and right where sums of 8-bit products are not cut off."""
    branches: Literal["sum", "max"] = "sum"
    """Parallel branches run one after the other, or at once: the longest path counts."""
    same_format: list[Operator] = []
    """Operators all of whose operands must arrive in the format that the operator reads."""
    supports: Annotated[list[SupportsSection], Field(min_length=1, max_length=MOST)]
    """What operators run natively; an operator that is not listed does not run."""
    fusion: list[Annotated[list[Operator], Field(min_length=2)]] = []
    """Chains that run as one kernel; the longest that matches is taken."""
    regions: list[Annotated[str, Field(min_length=1)]] = []
    """Globs over address prefixes, such as 'stage*.block*': all nodes below run as one kernel."""
    cast: CastSection | None = None
    """What a change of format between neighbours costs; nothing where left out."""
    memory: MemorySection | None = None
    """Hard limits."""
    roofline: RooflineSection | None = None
    """Figures of an analytical target, and only of that."""
    table: Annotated[str, AfterValidator(_beside)] | None = None
    """Latency table of a measured, imported or simulated target, beside this file or below."""
    transfer: TransferSection | None = None
    """What a predicted target follows from, and only that."""
    notes: dict[NoteName, Note] = {}
    """How the figures came about: runtime version, threads, batch, date, clock and the like."""

    @model_validator(mode="after")
    def _complete(self) -> TargetFile:
        if (self.provenance == "analytical") != (self.roofline is not None):
            raise ValueError("an analytical target has a roofline section, and only that one has")
        if (self.provenance == "predicted") != (self.transfer is not None):
            raise ValueError("a predicted target has a transfer section, and only that one has")
        if (self.roofline is None and self.transfer is None) != (self.table is not None):
            raise ValueError(
                "a target that is neither analytical nor predicted names its table, and only "
                "those do"
            )
        if self.transfer is not None and (self.branches != "sum" or self.cast is not None):
            raise ValueError("a predicted target adds up kernels; leave out branches and cast")
        named = Counter(name for section in self.supports for name in section.operators)
        if repeated := sorted(name for name, count in named.items() if count > 1):
            raise ValueError(f"supports names {', '.join(repeated)} more than once; keep one")
        for section in self.supports:
            _check_weights(section)
        if self.roofline is not None:
            _check_figures(self.roofline, self.supports)
        return self


def _check_weights(section: SupportsSection) -> None:
    """Operators with a weight need pairs, those without need single widths."""
    for name in section.operators:
        weighted = "weight" in operator_types()[name].__dataclass_fields__
        if any((bits.weight is None) == weighted for bits in bits_in(section.bits)):
            form = "pairs such as '8x8'" if weighted else "single widths such as '8'"
            raise ValueError(f"{name} takes bits as {form}, given {section.bits}")


def _check_figures(roofline: RooflineSection, supports: list[SupportsSection]) -> None:
    """Every pair that is native needs figures, unless one is scaled to all."""
    native = {bits for part in supports for bits in bits_in(part.bits)}
    if unknown := sorted(map(str, set(bits_in(roofline.channel_multiple)) - native)):
        raise ValueError(f"roofline.channel_multiple names {', '.join(unknown)}, not native bits")
    if roofline.bit_serial:
        return
    pairs = {bits for bits in native if bits.weight}
    figures = {"gmacs_per_s": roofline.gmacs_per_s}
    if roofline.energy is not None:
        figures["energy.pj_per_mac"] = roofline.energy.pj_per_mac
    for key, given in figures.items():
        if set(bits_in(given)) != pairs:
            raise ValueError(
                f"roofline.{key} must hold exactly the native bits "
                f"{', '.join(map(str, sorted(pairs)))}, given {', '.join(given)}"
            )
