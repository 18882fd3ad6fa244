"""The target file that belongs to a measured latency table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from nas.files.durable import write_atomic
from nas.profiling.backend import Backend
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.saturation import WEIGHTS_NOTE
from nas.targets.schema import numerics_in
from nas.targets.target import deciding
from nas.targets.target_files import DEVICES, load_target, read_target_file
from search_spaces.kernels import Kernel

Kernels = Sequence[tuple[Kernel, Numerics]]
Refused = Mapping[tuple[str, Numerics], str]  # operator, formats -> why they are not timed


def timed_by(backend: Backend, kernels: Kernels) -> tuple[Kernels, Refused]:
    """The kernels that the backend can time, and the operators and formats that it cannot.

    If the backend refuses any kernel of an operator in given formats, all kernels of this operator
    in these formats are left out, since a target supports either all of them or none.

    Raises:
        TargetError: If no kernel is left.
    """
    refused: dict[tuple[str, Numerics], str] = {}
    for kernel, numerics in kernels:
        reason = backend.refusal(kernel, numerics)
        if reason is not None:
            refused |= dict.fromkeys(((name, numerics) for name in _deciding(kernel)), reason)
    kept = [(k, b) for k, b in kernels if not any((name, b) in refused for name in _deciding(k))]
    if not kept:
        raise TargetError(
            f"backend {backend.name!r} times none of the kernels: {next(iter(refused.values()))}"
        )
    return kept, refused


def write_target(
    path: Path, *, base: str | Path, refused: Refused, notes: Mapping[str, str], source: str
) -> None:
    """Write the target file of the table that lies beside `path` under the same name.

    Args:
        path: The target file, `NAME.toml`; the table is `NAME.csv`.
        base: The name or path of the target whose fusion, formats and rules are taken over.
        refused: The operators and formats that the base supports and the new target does not.
        notes: The notes of the table: device and runtime.
        source: The origin of the table, in words.
    """
    described = read_target_file(_located(base)).model_dump(
        mode="json", exclude_unset=True, exclude_none=True
    )
    described |= {
        "name": path.stem,
        "device": notes["device"],
        "runtime": notes["runtime"],
        "provenance": "measured",
        "source": source,
        "table": path.with_suffix(".csv").name,
        "supports": [*_supports(described["supports"], refused)],
    }
    if described.get("eight_bit_weights") == "by-processor":
        described["eight_bit_weights"] = notes.get(WEIGHTS_NOTE, "unsigned")
    described.pop("roofline", None)
    order = sorted(described, key=lambda name: isinstance(described[name], list | dict))
    content = tomli_w.dumps({name: described[name] for name in order})
    write_atomic(path, content.encode())
    load_target(path)


def _supports(sections: Iterable[Mapping[str, Any]], refused: Refused) -> Iterator[dict[str, Any]]:
    """The `supports` sections without the refused formats, in as few sections as possible."""
    for section in sections:
        by_numerics: dict[tuple[Numerics, ...], list[str]] = {}
        for name in section["operators"]:
            left = tuple(b for b in numerics_in(section["formats"]) if (name, b) not in refused)
            by_numerics.setdefault(left, []).append(name)
        for numerics, names in by_numerics.items():
            if numerics:
                yield {**section, "operators": names, "formats": [str(one) for one in numerics]}


def _deciding(kernel: Kernel) -> list[str]:
    return [type(op).__name__ for op in deciding(kernel)]


def _located(base: str | Path) -> Path:
    path = Path(base)
    return path if path.suffix == ".toml" else DEVICES / f"{base}.toml"
