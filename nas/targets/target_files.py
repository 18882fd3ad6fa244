"""Target files: one small TOML file per device, which is checked completely before it is used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nas.targets.capability import SYMMETRIES, Accepted, Capability, Support
from nas.targets.correction.correction import Latencies, calibration_path, read_calibration
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.operator_names import operator_types
from nas.targets.roofline import Energy, OnChip, Roofline
from nas.targets.rules import Cast, Memory, Rules
from nas.targets.saturation import NARROWER, WEIGHTS_NOTE, WIDEST, EightBitWeights, arrangement
from nas.targets.schema import (
    FULL_PRECISION,
    EnergySection,
    RooflineSection,
    SupportsSection,
    TargetFile,
    TransferSection,
    by_numerics,
    numerics_in,
)
from nas.targets.seams.table import SEAMS_NOTE, SeamTable, said, seams_path
from nas.targets.table.latency_table import LatencyTable
from nas.targets.target import CostModel, HardwareTarget
from nas.targets.transfer.predicted import predicted_target, read_networks
from search_spaces.documents import read_toml
from search_spaces.kernels import Fusion
from search_spaces.space import SearchSpace

MAXIMUM_BYTES = 1 << 20
_EXAMPLES = "docs/formats.md lists every key; `nas targets` names working examples"
DEVICES = Path(__file__).parent / "devices"


def available() -> list[str]:
    """The names of the targets that are shipped with the engine."""
    return sorted(path.stem for path in DEVICES.glob("*.toml"))


def load_target(
    name_or_path: str | Path,
    *,
    table: Path | None = None,
    unmeasured: bool = False,
    elsewhere: bool = False,
) -> HardwareTarget:
    """The target with a name, or the target that a file describes.

    Seams and a calibration that lie beside the table are applied.

    Args:
        name_or_path: One of `available()`, or the path of a `.toml` file.
        table: A latency table to use in place of the one that the file names.
        unmeasured: Whether the table may be missing, since it will be measured or filled in. Such a
            target has no rows, and compiling it lists the kernels that it lacks. The shipped
            `this-cpu` may always be without a table.
        elsewhere: Whether another machine than this one will be measured, so that nothing follows
            from this processor.

    Raises:
        UnreadableFile: If the file, or a file that it names, cannot be read.
        TargetError: If the content is wrong; names the file, the key, the value and what is
            allowed.
    """
    path = target_path(name_or_path)
    described = read_target_file(path)
    if described.transfer is not None:
        return _predicted(described, path, described.transfer)
    source = table or (None if described.table is None else _beside(path, described.table))
    shipped = table is None and path.parent == DEVICES
    model = (
        _roofline(described)
        if source is None
        else _table(described, source, unmeasured=unmeasured or shipped)
    )
    measured = model.notes if isinstance(model, LatencyTable) else {}
    seams = None if source is None else _seams(described, source, measured)
    if source is not None and calibration_path(source).exists():
        conditions = {**measured, SEAMS_NOTE: said(seams)}
        calibration = read_calibration(calibration_path(source), conditions=conditions)
        model = Latencies(model, calibration)
    made = _assembled(described, model, measured, elsewhere=elsewhere)
    return replace(made, seams=seams)


def _predicted(described: TargetFile, path: Path, section: TransferSection) -> HardwareTarget:
    """The target whose costs are predicted from known targets and a few measured networks."""
    known = [path.parent / name if name.endswith(".toml") else name for name in section.known]
    if any(read_target_file(target_path(name)).transfer is not None for name in known):
        raise TargetError(
            f"target {described.name!r} follows from a target that is predicted itself; name "
            "measured, imported, simulated or analytical ones"
        )
    space = SearchSpace.read(_beside(path, section.space))
    networks, latency_ms = read_networks(_beside(path, section.measured), space)
    return predicted_target(
        _assembled(described, LatencyTable({}), {}),
        [load_target(name) for name in known],
        space=space,
        networks=networks,
        latency_ms=latency_ms,
    )


def _assembled(
    described: TargetFile,
    model: CostModel,
    measured: Mapping[str, str],
    *,
    elsewhere: bool = False,
) -> HardwareTarget:
    """The target of a file with the cost model `model`; `measured` are the notes of its table."""
    weights = arrangement(
        described.eight_bit_weights, measured=_measured_weights(measured), elsewhere=elsewhere
    )
    return HardwareTarget(
        name=described.name,
        device=measured.get("device", described.device),
        runtime=measured.get("runtime", described.runtime),
        provenance=described.provenance,
        capability=_capability(described, weights),
        fusion=_fusion(described),
        model=model,
        source=described.source,
        rules=_rules(described),
        eight_bit_weights=weights,
        notes={**described.notes, **measured},
    )


def read_target_file(path: Path) -> TargetFile:
    """The checked content of a target file.

    Raises:
        UnreadableFile: If the file cannot be read.
        TargetError: If a key or value is wrong; lists all of them.
    """
    return checked_target(read_toml(path, what="target file", remedy=_EXAMPLES), path)


def checked_target(content: Mapping[str, Any], path: Path) -> TargetFile:
    """The content of a target file, if it is right; `path` is for errors.

    Raises:
        TargetError: If a key or value is wrong; lists all of them.
    """
    try:
        return TargetFile.model_validate(content)
    except ValidationError as error:
        listed = "\n".join(f"  {problem}" for problem in _problems(error))
        raise TargetError(f"target file {path} is not valid:\n{listed}\n{_EXAMPLES}") from error


def target_path(name_or_path: str | Path) -> Path:
    """The path of a target file, for the name of a shipped target or a path that ends in `.toml`.

    Raises:
        TargetError: For any other name.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path
    if str(name_or_path) not in available():
        raise TargetError(
            f"target {str(name_or_path)!r} is not known; available are {', '.join(available())}, "
            "or give the path of a .toml file"
        )
    return DEVICES / f"{name_or_path}.toml"


def _beside(path: Path, table: str) -> Path:
    """The path of a file that a target file names.

    Raises:
        TargetError: If a link leads out of the folder of the target file.
    """
    if not (path.parent / table).resolve().is_relative_to(path.parent.resolve()):
        raise TargetError(
            f"target file {path} names {table!r}, which leads out of its folder; copy "
            "the file there"
        )
    return path.parent / table


def _problems(error: ValidationError) -> Iterator[str]:
    """One line per wrong key: its name, its value, and the allowed values."""
    for detail in error.errors():
        key = ".".join(map(str, detail["loc"])) or "the file"
        if detail["type"] == "extra_forbidden":
            yield f"{key}: no such key; remove it or correct its name"
        elif detail["type"] == "missing":
            yield f"{key}: missing; add it"
        else:
            value = repr(detail["input"])
            given = f" = {value}" if len(value) <= 60 else ""
            yield f"{key}{given}: {detail['msg'].removeprefix('Value error, ')}"


def _table(described: TargetFile, path: Path, *, unmeasured: bool) -> LatencyTable:
    if described.provenance == "analytical":
        raise TargetError(
            f"target {described.name!r} is analytical and takes no latency table, given {path}; "
            "name a measured or imported target"
        )
    is_measured = described.provenance == "measured"
    is_to_come = unmeasured and not path.exists()
    table = LatencyTable({}) if is_to_come else LatencyTable.read(path, unfinished=is_measured)
    if is_measured:
        _check_weights(described, path, table.notes)
    # For this machine, the name; for any other target, its file, whose path is not known here.
    here = "; for this-cpu, `nas profile RECIPE` measures them" if is_measured else ""
    listed = "`nas targets template RECIPE --target FILE --out TABLE.csv` lists all of them"
    return replace(table, remedy=f"add them to {path}: {listed}{here}")


def _seams(described: TargetFile, table: Path, measured: Mapping[str, str]) -> SeamTable | None:
    """The seams beside a latency table; None where there are none."""
    path = seams_path(table)
    if not path.exists():
        return None
    if described.cast is not None or described.branches != "sum":
        raise TargetError(
            f"{path} holds measured seams of target {described.name!r}, whose file gives a cast or "
            "runs branches at once; take cast and branches out of the file, or delete the seams"
        )
    return SeamTable.read(path, conditions=measured)


def _check_weights(described: TargetFile, path: Path, notes: Mapping[str, str]) -> None:
    """Raise `TargetError` if the table was measured with 8-bit weights of another type than files.

    The type is signed or unsigned.
    """
    weights = _measured_weights(notes)
    if weights not in (None, described.eight_bit_weights) and (
        described.eight_bit_weights != "by-processor"
    ):
        raise TargetError(
            f"latency table {path} was measured with 8-bit weights {weights!r}, and files for "
            f"target {described.name!r} hold them {described.eight_bit_weights!r}; delete the "
            f"table to measure anew, or set eight_bit_weights = {weights!r} in the target file"
        )


def _measured_weights(notes: Mapping[str, str]) -> str | None:
    """The type of 8-bit weights with which a table was measured; None where nothing tells it."""
    # Older tables lack this note; onnxruntime was then timed with signed weights.
    unsaid = "signed" if notes.get("runtime", "").startswith("onnxruntime") else None
    return notes.get(WEIGHTS_NOTE, unsaid)


def _capability(described: TargetFile, weights: EightBitWeights) -> Capability:
    supports: dict[str, Support] = {}
    for section in described.supports:
        support = _support(section, weights)
        supports |= dict.fromkeys(section.operators, support)
    return Capability(supports, described.otherwise, described.full_precision)


def _support(section: SupportsSection, weights: EightBitWeights) -> Support:
    every = numerics_in(section.formats)
    # The kernel of signed weights of 8 bits runs those of 7 too, in the same time.
    same = [replace(one, weight=NARROWER) for one in every if one.weight == WIDEST]
    return Support(
        numerics=tuple(one for one in every if weights == "unsigned" or one not in same),
        weight=_accepted(section.weight_granularity, section.weight_symmetry),
        activation=_accepted(section.activation_granularity, section.activation_symmetry),
        decodes=frozenset(section.decodes),
    )


def _accepted(granularity: Sequence[str], symmetry: Sequence[str]) -> Accepted:
    return Accepted(frozenset(granularity), frozenset(SYMMETRIES[name] for name in symmetry))


def _rules(described: TargetFile) -> Rules:
    cast, memory = described.cast, described.memory
    return Rules(
        branches=described.branches,
        cast=cast and Cast(cast.overhead_us, cast.bandwidth_gb_per_s),
        same_format=frozenset(described.same_format),
        packed=described.storage == "packed",
        memory=Memory(**memory.model_dump()) if memory else Memory(),
        full_precision_bits=FULL_PRECISION[described.full_precision],
    )


def _fusion(described: TargetFile) -> Fusion:
    kinds = operator_types()
    chains = tuple(tuple(kinds[name] for name in pattern) for pattern in described.fusion)
    return Fusion(chains, tuple(described.regions))


def _roofline(described: TargetFile) -> CostModel:
    section = described.roofline
    if section is None:  # the schema lets only targets with a table be without one
        raise TargetError(f"target {described.name!r} has neither a roofline nor a table")
    every = (numerics_in(part.formats) for part in described.supports)
    native = {numerics.factors for part in every for numerics in part}
    return Roofline(
        gmacs_per_s=_rates(section.gmacs_per_s, section, native),
        bandwidth_gb_per_s=section.bandwidth_gb_per_s,
        overhead_us=section.overhead_us,
        utilisation=section.utilisation,
        channel_multiple=by_numerics(section.channel_multiple),
        on_chip=_on_chip(section),
        energy=section.energy and _energy(section.energy, section, native),
        full_precision_bits=FULL_PRECISION[described.full_precision],
    )


def _on_chip(section: RooflineSection) -> OnChip | None:
    if section.on_chip_bytes is None:
        return None
    return OnChip(section.on_chip_bytes, section.on_chip_gb_per_s or math.inf)


def _rates(
    given: Mapping[str, float], section: RooflineSection, native: set[Numerics]
) -> dict[Numerics, float]:
    """The peak rate at every native pair of formats.

    A bit-serial device has one given rate; the others are in inverse proportion to weight bits x
    activation bits.
    """
    peaks = by_numerics(given)
    if not section.bit_serial:
        return peaks
    [(base, peak)] = peaks.items()
    return {numerics: peak * base.product / numerics.product for numerics in native}


def _energy(energy: EnergySection, section: RooflineSection, native: set[Numerics]) -> Energy:
    rates = _rates({text: 1 / pj for text, pj in energy.pj_per_mac.items()}, section, native)
    per_mac = {numerics: 1 / rate for numerics, rate in rates.items()}
    return Energy(per_mac, energy.pj_per_byte, energy.pj_per_on_chip_byte)
