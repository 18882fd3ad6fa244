"""The schema of target files: all keys, their types and bounds, and how they belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from nas.targets.capability import GRANULARITIES, Otherwise, granularity_in
from nas.targets.numerics import Numerics, parse_numerics
from nas.targets.operator_names import operator_types
from nas.targets.saturation import DescribedWeights
from nas.targets.target import Provenance
from search_spaces.ops import Op

Given = TypeVar("Given")
TABLE_SUFFIXES = (".csv", ".parquet")
MOST = 64  # texts about formats in one list, each of which may stand for a thousand pairs
FULL_PRECISION = {"float32": 32, "float16": 16, "bfloat16": 16}


def numerics_in(texts: Iterable[str]) -> tuple[Numerics, ...]:
    """The formats that a list of texts such as `int4xint8` stands for."""
    return tuple(numerics for text in texts for numerics in parse_numerics(text))


def by_numerics(figures: Mapping[str, Given]) -> dict[Numerics, Given]:
    """One figure per pair of formats, from figures per text such as `int2..4xint8`."""
    return {one: figure for text, figure in figures.items() for one in parse_numerics(text)}


def _operator(name: str) -> str:
    if name not in operator_types():
        raise ValueError(f"no such operator; known are {', '.join(sorted(operator_types()))}")
    return name


def _formats(text: str) -> str:
    parse_numerics(text)
    return text


def _once(figures: dict[str, Given]) -> dict[str, Given]:
    given = Counter(numerics_in(figures))
    if repeated := [str(numerics) for numerics, count in given.items() if count > 1]:
        raise ValueError(f"gives {', '.join(repeated)} more than once; keep one")
    return figures


def _words(text: str) -> str:
    if not all(letter.isprintable() or letter == "\n" for letter in text):
        raise ValueError("holds control characters; write it in plain letters")
    return text


def _as_words(value: Any) -> Any:
    """A number or date as text; any other value unchanged, to be refused later."""
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
NumericsText = Annotated[str, AfterValidator(_formats)]
Words = Annotated[str, AfterValidator(_words)]
NoteName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9 ._-]*$")]
Note = Annotated[
    Words,
    BeforeValidator(_as_words),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
WeightGranularity = Annotated[str, AfterValidator(granularity_in)]
InputGranularity = Literal["per-tensor", "per-channel"]
SymmetryName = Literal["symmetric", "asymmetric"]
Number = Annotated[float, Field(strict=True)]
Share = Annotated[Number, Field(ge=1e-6, le=1)]
# The bounds lie far beyond any device: a figure outside them is in a wrong unit.
Rate = Annotated[Number, Field(ge=1e-9, le=1e9)]
Bandwidth = Annotated[Number, Field(ge=1e-9, le=1e6)]
Microseconds = Annotated[Number, Field(ge=0, le=1e7)]
Picojoules = Annotated[Number, Field(ge=0, le=1e9)]
Bytes = Annotated[Number, Field(gt=0, le=1e15)]
Multiple = Annotated[int, Field(strict=True, ge=1, le=4096)]
PerNumerics = Annotated[
    dict[NumericsText, Rate], Field(min_length=1, max_length=MOST), AfterValidator(_once)
]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class SupportsSection(_Section):
    """The precisions in which some operators run natively."""

    operators: Annotated[list[Operator], Field(min_length=1)]
    """The operators that this section describes, by class name; each in one section only."""
    formats: Annotated[
        list[NumericsText],
        Field(min_length=1, max_length=MOST, validation_alias=AliasChoices("formats", "bits")),
    ]
    """Native formats: 'int4xint8' is weight x activation, 'int8' for no weight, 'int2..8xint8' a
    range, 'float' full precision. Kernels for int8 run uint8 as well, unless uint8 is named. A
    number alone is integers of so many bits, 32 full precision."""
    decodes: list[Literal["float16", "bfloat16"]] = []
    """Formats of weights that become full precision at load: kernels are those for 'float'."""
    weight_granularity: list[WeightGranularity] = [*GRANULARITIES]
    """The elements of a weight that may share a scale: 'per-tensor', 'per-channel', groups of
    input channels such as 'per-group-32', or 'per-group' for groups of any size."""
    weight_symmetry: list[SymmetryName] = ["symmetric", "asymmetric"]
    """Whether weights may have a zero point: asymmetric ones have one."""
    activation_granularity: list[InputGranularity] = ["per-tensor", "per-channel"]
    """The elements of an input that may share a scale."""
    activation_symmetry: list[SymmetryName] = ["symmetric", "asymmetric"]
    """Whether inputs may have a zero point: asymmetric ones have one."""


class CastSection(_Section):
    """The cost of converting a tensor to another format, once per tensor and format."""

    overhead_us: Microseconds
    """Microseconds per conversion."""
    bandwidth_gb_per_s: Bandwidth
    """10^9 bytes per second, at which the tensor is read and written."""


class MemorySection(_Section):
    """The memory of the device in bytes, which sets hard limits; no limit where left out."""

    flash_bytes: Bytes | None = None
    """Flash that is left for the model: the limit on model_bytes."""
    ram_bytes: Bytes | None = None
    """RAM that is left for activations: the limit on peak_activation_bytes."""
    total_bytes: Bytes | None = None
    """One memory for both, in place of flash and RAM: the limit on memory_bytes."""

    @model_validator(mode="after")
    def _apart(self) -> MemorySection:
        if self.total_bytes is not None and (self.flash_bytes or self.ram_bytes):
            raise ValueError(
                "total_bytes is one memory for model and activations, and flash_bytes and "
                "ram_bytes are two; keep one kind"
            )
        return self


class EnergySection(_Section):
    """The energy of operations and of data movement, in picojoules."""

    pj_per_mac: PerNumerics
    """Picojoules per multiply-accumulate: for every native pair, or for one if bit_serial."""
    pj_per_byte: Picojoules
    """Picojoules per byte that crosses the border of the chip."""
    pj_per_on_chip_byte: Picojoules = 0.0
    """Picojoules per byte that a kernel reads or writes, on or off the chip."""


class RooflineSection(_Section):
    """The figures of an analytical target."""

    gmacs_per_s: PerNumerics
    """Peak rate in 10^9 multiply-accumulates per second, for every native pair of formats. Products
    of two activations of int8 have the rate of int8xint8."""
    bandwidth_gb_per_s: Bandwidth
    """10^9 bytes per second across the border of the chip."""
    overhead_us: Microseconds
    """Microseconds that are added to every kernel."""
    bit_serial: bool = False
    """Whether the rate of one pair of formats is given, and the rates of all other pairs are in
    inverse proportion to weight bits x activation bits."""
    utilisation: dict[Operator, Share] = {}
    """Share of the peak that each operator reaches; 1 for operators that are not named."""
    channel_multiple: Annotated[
        dict[NumericsText, Multiple], Field(max_length=MOST), AfterValidator(_once)
    ] = {}
    """By formats, the number to a multiple of which channels are padded; 1 where not named."""
    on_chip_bytes: Bytes | None = None
    """Size of the buffer on the chip. If a kernel's weights and tensors fit, only the weights
    cross the border of the chip."""
    on_chip_gb_per_s: Bandwidth | None = None
    """10^9 bytes per second on the chip; no limit where left out."""
    energy: EnergySection | None = None
    """The energy of operations and bytes; adds the cost energy_mj."""

    @model_validator(mode="after")
    def _consistent(self) -> RooflineSection:
        given = [self.gmacs_per_s, *([self.energy.pj_per_mac] if self.energy else [])]
        if self.bit_serial and any(len(numerics_in(figures)) != 1 for figures in given):
            raise ValueError("bit_serial scales one figure to all formats; give one pair only")
        if self.on_chip_gb_per_s is not None and self.on_chip_bytes is None:
            raise ValueError("on_chip_gb_per_s needs on_chip_bytes; add it, or remove both")
        return self


class TransferSection(_Section):
    """The sources of a predicted target's figures; docs/formats.md describes the two files."""

    known: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Shipped targets by name, or target files, relative to this file."""
    space: Annotated[str, AfterValidator(_below)]
    """The search space of the measured networks, beside this file or below."""
    measured: Annotated[str, AfterValidator(_below)]
    """The measured networks, a CSV file beside this file or below."""


class TargetFile(_Section):
    """A whole target file; the unit of a figure is in the name of its key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The name of the target in recipes, reports and file names."""
    device: Annotated[Words, Field(min_length=1)]
    """The hardware, in words."""
    runtime: Annotated[Words, Field(min_length=1)]
    """The software that runs the model, in words."""
    provenance: Provenance
    """Where the figures come from; reports repeat this word."""
    source: Words = ""
    """The origin of the figures, in words."""
    otherwise: Otherwise
    """Other formats than native ones run in the smallest native pair that holds them, or are
    refused."""
    storage: Literal["packed", "container"] = "packed"
    """Whether weights are stored at their own bits or at those in which they are computed."""
    full_precision: Literal["float32", "float16", "bfloat16"] = "float32"
    """The number format of tensors that are not quantized, called 'float' everywhere else."""
    eight_bit_weights: DescribedWeights = "unsigned"
    """The type of 8-bit weights in an ONNX file where inputs are quantized. Unsigned computes the
    same on every processor. Signed is faster, and right where sums of 8-bit products do not
    saturate. By-processor, for files that run on this machine only, is signed if its processor is
    known to be right with it."""
    branches: Literal["sum", "max"] = "sum"
    """Whether parallel branches run one after the other, or at the same time ('max'), so that the
    longest path counts."""
    same_format: list[Operator] = []
    """Operators whose operands must all arrive in the format that the operator reads."""
    supports: Annotated[list[SupportsSection], Field(min_length=1, max_length=MOST)]
    """The precisions that operators run natively; an operator that is not listed does not run."""
    fusion: list[Annotated[list[Operator], Field(min_length=2)]] = []
    """Chains of operators that run as one kernel; the longest that matches is taken."""
    regions: list[Annotated[str, Field(min_length=1)]] = []
    """Globs over the beginning of addresses, such as 'stage*.block*': all nodes whose addresses
    begin alike run as one kernel."""
    cast: CastSection | None = None
    """The cost of converting tensors between formats; conversions are free where left out."""
    memory: MemorySection | None = None
    """The memory of the device, which sets hard limits."""
    roofline: RooflineSection | None = None
    """Figures of an analytical target; no other target has this section."""
    table: Annotated[str, AfterValidator(_beside)] | None = None
    """Latency table of a measured, imported or simulated target, beside this file or below."""
    transfer: TransferSection | None = None
    """Sources of a predicted target's figures; no other target has this section."""
    notes: dict[NoteName, Note] = {}
    """Conditions of the measurement: runtime version, threads, batch, date, clock and the like."""

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
    """Raise `ValueError` if an operator with a weight has no pairs, or one without a weight has."""
    for name in section.operators:
        weighted = "weight" in operator_types()[name].__dataclass_fields__
        if any((numerics.weight is None) == weighted for numerics in numerics_in(section.formats)):
            form = "pairs such as 'int8xint8'" if weighted else "single names such as 'int8'"
            raise ValueError(f"{name} takes formats as {form}, given {section.formats}")


def _multiplies(kind: type[Op]) -> bool:
    """Whether a device needs a rate for operators of this class."""
    weighted = "weight" in kind.__dataclass_fields__
    return (weighted and not kind.looks_up) or kind.products


def _check_figures(roofline: RooflineSection, supports: list[SupportsSection]) -> None:
    """Raise `ValueError` if a native pair has no figures, or figures have no native pair.

    A bit-serial roofline gives one figure for all pairs.
    """
    kinds = operator_types()
    native = {numerics for part in supports for numerics in numerics_in(part.formats)}
    if unknown := sorted(map(str, set(numerics_in(roofline.channel_multiple)) - native)):
        raise ValueError(
            f"roofline.channel_multiple names {', '.join(unknown)}, not native formats"
        )
    if roofline.bit_serial:
        return
    pairs = {
        numerics.factors
        for part in supports
        for numerics in numerics_in(part.formats)
        if any(_multiplies(kinds[name]) for name in part.operators)
    }
    figures = {"gmacs_per_s": roofline.gmacs_per_s}
    if roofline.energy is not None:
        figures["energy.pj_per_mac"] = roofline.energy.pj_per_mac
    for key, given in figures.items():
        if set(numerics_in(given)) != pairs:
            raise ValueError(
                f"roofline.{key} must hold exactly the native formats "
                f"{', '.join(map(str, sorted(pairs)))}, given {', '.join(given)}"
            )
