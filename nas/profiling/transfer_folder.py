"""The folder that starts a transfer: networks to measure on a device, and its target file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tomli_w

from nas.export.onnx_model import export_onnx
from nas.export.stand_in import stand_in
from nas.files.durable import write_atomic
from nas.targets.errors import TargetError
from nas.targets.target_files import load_target, read_target_file, target_path
from nas.targets.transfer.predicted import networks_text
from nas.targets.transfer.transfer import KnownTargets, Transfer
from search_spaces.space import SearchSpace

SPACE, MEASURED, NETWORKS = "space.json", "measured.csv", "networks"
_OWN = ("roofline", "table", "transfer", "notes", "branches", "cast")


def write_transfer(folder: Path, *, space: SearchSpace, known: Sequence[str], count: int) -> Path:
    """Write a target `NAME.toml` that will predict latencies from a few measurements.

    The target is complete but for these measurements. The folder also gets the space; the `count`
    networks that are most informative, as ONNX files with random weights; and a CSV file for their
    latencies, with rows numbered like the files.

    Args:
        folder: The folder, whose name becomes the name of the target; must not hold a transfer.
        space: The space to search later.
        known: The names or paths of known targets; operators, bits and fusion are the first's.
        count: The number of networks to measure.

    Raises:
        TargetError: If a known target does not run the space, or a file exists already.
    """
    path = folder / f"{folder.resolve().name}.toml"
    if path.exists() or (folder / MEASURED).exists():
        raise TargetError(f"{folder} holds a transfer already; give another folder")
    chosen = Transfer(KnownTargets([load_target(name) for name in known], space)).choose(count)
    (folder / NETWORKS).mkdir(parents=True, exist_ok=True)
    weights = load_target(known[0]).eight_bit_weights
    for number, genotype in enumerate(chosen, start=1):
        network = replace(stand_in(space.decode(genotype)), metadata={"genotype": str(genotype)})
        file = folder / NETWORKS / f"{number:02}.onnx"
        export_onnx(network, file, eight_bit_weights=weights)
    write_atomic(folder / SPACE, space.to_json().encode())
    write_atomic(folder / MEASURED, networks_text(space, chosen, [None] * len(chosen)).encode())
    write_atomic(path, _described(path, known).encode())
    read_target_file(path)
    return path


def _described(path: Path, known: Sequence[str]) -> str:
    """The text of the target file: that of the first known target, with a section `transfer`."""
    described = read_target_file(target_path(known[0])).model_dump(
        mode="json", exclude_unset=True, exclude_none=True
    )
    described = {key: value for key, value in described.items() if key not in _OWN}
    described |= {
        "name": path.stem,
        "device": f"{path.stem} (say which device this is)",
        "runtime": "say which runtime timed the networks",
        "provenance": "predicted",
        "source": "",
        "transfer": {
            "known": [_from(path.parent, name) for name in known],
            "space": SPACE,
            "measured": MEASURED,
        },
    }
    order = sorted(described, key=lambda name: isinstance(described[name], list | dict))
    return tomli_w.dumps({name: described[name] for name in order})


def _from(folder: Path, name: str) -> str:
    """The name of a shipped target, or the path of a target file relative to `folder`."""
    return Path(os.path.relpath(name, folder)).as_posix() if name.endswith(".toml") else name
