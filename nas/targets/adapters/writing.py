"""Targets from imported tables: in memory, or as a target file with its latency table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from nas.targets.adapters.imported import Imported, plain
from nas.targets.capability import Capability, Otherwise, Support
from nas.targets.errors import TargetError
from nas.targets.numerics import FULL, Numerics
from nas.targets.table.latency_table import LatencyTable
from nas.targets.target import HardwareTarget, Provenance
from nas.targets.target_files import read_target_file
from search_spaces.ops import Op

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
OTHERWISE: Otherwise = "refuse"  # bits without a row were not measured


def target(imported: Imported, name: str) -> HardwareTarget:
    """The target with the rows of an imported table; bits without a row are refused.

    Args:
        imported: The imported table.
        name: The name of the target.

    Raises:
        TargetError: If there are no rows, as in a format about whole networks.
    """
    _require_rows(imported)
    return HardwareTarget(
        name=name,
        device=imported.device,
        runtime=imported.runtime,
        provenance=provenance(imported),
        capability=Capability(
            {kind: Support(tuple(numerics)) for kind, numerics in _supported(imported).items()},
            OTHERWISE,
        ),
        fusion=imported.fusion,
        model=LatencyTable(imported.rows, notes(imported), remedy="the published table ends here"),
        source=imported.source,
    )


def write(imported: Imported, name: str, folder: Path) -> Path:
    """Write `NAME.toml` and `NAME.csv` into a folder and return the path of the first.

    The folder is made if it does not exist.

    Raises:
        TargetError: If there are no rows, the name is not allowed, or a file exists already or
            cannot be written.
    """
    _require_rows(imported)
    path = folder / f"{name}.toml"
    if not _NAME.fullmatch(name):
        raise TargetError(
            f"name = {name!r} names files too: letters, digits, '.', '_' and '-', the first a "
            "letter or digit"
        )
    table = path.with_suffix(".csv")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join([*_lines(imported, name), ""]))
        LatencyTable(imported.rows, notes(imported)).write(table)
    except FileExistsError as error:
        raise TargetError(f"{error.filename} is there already; give another name") from error
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error}; give another folder") from error
    read_target_file(path)
    return path


def provenance(imported: Imported) -> Provenance:
    """The provenance of imported figures in reports: `simulated` or `imported`.

    Predicted figures count as imported; `notes` say that they are predicted.
    """
    return "simulated" if imported.origin == "simulated" else "imported"


def notes(imported: Imported) -> dict[str, str]:
    """The conditions of the measurement, for the head of the latency table."""
    own = {"device": imported.device, "runtime": imported.runtime, "figures": imported.origin}
    known = {**own, "source": imported.source, "units": imported.units, **imported.notes}
    return {key: plain(value) for key, value in known.items()}


def _require_rows(imported: Imported) -> None:
    if not imported.rows:
        raise TargetError(
            f"the file holds {len(imported.samples)} whole networks and no kernels, so it makes no "
            "target; fit a latency predictor to them instead"
        )


def _supported(imported: Imported) -> dict[str, list[Numerics]]:
    """The supported formats of every operator class: those of the rows that contain the operator.

    An operator without a weight is supported in the format that is read.
    """
    found: dict[str, set[Numerics]] = {}
    for key, kernel in imported.kernels.items():
        for op in (op for op in kernel.ops if op.runs):
            weight = key.numerics.weight if _weighted(op) else None
            reads = {key.activation} if weight else {key.activation, FULL}
            found.setdefault(type(op).__name__, set()).update(Numerics(weight, a) for a in reads)
    return {kind: sorted(numerics, key=_order) for kind, numerics in sorted(found.items())}


def _order(numerics: Numerics) -> tuple[int, int, Numerics]:
    return numerics.weight_bits, numerics.activation_bits, numerics


def _weighted(op: Op) -> bool:
    return any(field.name == "weight" for field in fields(op))


def _lines(imported: Imported, name: str) -> Iterator[str]:
    """The lines of the target file."""
    words = {
        "name": name,
        "device": imported.device,
        "runtime": imported.runtime,
        "provenance": provenance(imported),
        "source": imported.source,
        "otherwise": OTHERWISE,
        "table": f"{name}.csv",
    }
    for key, value in words.items():
        yield f"{key} = {_text(value)}"
    for key, lists in _fused(imported).items():
        if lists:
            yield f"{key} = {json.dumps(lists)}"
    alike: dict[tuple[Numerics, ...], list[str]] = {}
    for kind, numerics in _supported(imported).items():
        alike.setdefault(tuple(numerics), []).append(kind)
    for numerics, kinds in alike.items():
        yield ""
        yield "[[supports]]"
        yield f"operators = {json.dumps(kinds)}"
        yield f"formats = {json.dumps(list(map(str, numerics)))}"


def _fused(imported: Imported) -> Mapping[str, list[str] | list[list[str]]]:
    chains = [[kind.__name__ for kind in chain] for chain in imported.fusion.chains]
    return {"fusion": chains, "regions": list(imported.fusion.regions)}


def _text(value: str) -> str:
    return json.dumps(plain(value), ensure_ascii=False)
