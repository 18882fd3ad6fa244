"""The target file that belongs to a measured latency table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from nas.durable import write_atomic
from nas.profiling.backend import Backend
from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from nas.targets.schema import bits_in
from nas.targets.target import deciding
from nas.targets.target_files import DEVICES, load_target, read_target_file
from search_spaces.kernels import Kernel

Kernels = Sequence[tuple[Kernel, Bits]]
Refused = Mapping[tuple[str, Bits], str]  # operator and bits -> the reason for not timing them


def timed_by(backend: Backend, kernels: Kernels) -> tuple[Kernels, Refused]:
    """The kernels that the backend can time, and the operators and bits that it cannot.

    If the backend refuses any kernel of an operator at given bits, all kernels of this operator at
    these bits are left out, since a target supports either all of them or none.

    Raises:
        TargetError: If no kernel is left.
    """
    refused: dict[tuple[str, Bits], str] = {}
    for kernel, bits in kernels:
        reason = backend.refusal(kernel, bits)
        if reason is not None:
            refused |= dict.fromkeys(((name, bits) for name in _deciding(kernel)), reason)
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
        refused: The operators and bits that the base supports and the new target does not.
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
    described.pop("roofline", None)
    order = sorted(described, key=lambda name: isinstance(described[name], list | dict))
    content = tomli_w.dumps({name: described[name] for name in order})
    write_atomic(path, content.encode())
    load_target(path)


def _supports(sections: Iterable[Mapping[str, Any]], refused: Refused) -> Iterator[dict[str, Any]]:
    """The `supports` sections without the refused bits, in as few sections as possible."""
    for section in sections:
        by_bits: dict[tuple[Bits, ...], list[str]] = {}
        for name in section["operators"]:
            left = tuple(b for b in bits_in(section["bits"]) if (name, b) not in refused)
            by_bits.setdefault(left, []).append(name)
        for bits, names in by_bits.items():
            if bits:
                yield {**section, "operators": names, "bits": [str(one) for one in bits]}


def _deciding(kernel: Kernel) -> list[str]:
    return [type(op).__name__ for op in deciding(kernel)]


def _located(base: str | Path) -> Path:
    path = Path(base)
    return path if path.suffix == ".toml" else DEVICES / f"{base}.toml"
