"""A target file for a table that was just measured."""

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
Refused = Mapping[tuple[str, Bits], str]  # operator and bits -> why they are not timed


def timed_by(backend: Backend, kernels: Kernels) -> tuple[Kernels, Refused]:
    """Those of `kernels` that the backend times, and what was left out.

    An operator keeps the bits at which all of its kernels run: a target either supports them or
    does not.

    Raises:
        TargetError: If nothing is left.
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
    """Write the target whose table lies beside `path` under the same name.

    Args:
        path: The target file, `NAME.toml`; the table is `NAME.csv`.
        base: Name or path of the target that it takes fusion, formats and rules from.
        refused: What that target supports and this one does not.
        notes: The table's notes: device and runtime.
        source: How the table came about, in words.
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
    """The sections without the bits that are refused, in as few as these allow."""
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
