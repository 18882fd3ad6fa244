"""One file that switches its bit-widths: accuracy of every mode, and the size of the file.

    python -m benchmarks.switching [--seeds 0 1 2] [--epochs 6 6] [--run FOLDER]

A network of fixed architecture (a ResNet-8 of 16 channels at 16 x 16) is trained at all of 8, 6, 4
and 2 bits: with Double Rounding, with and without ALRS, and with learned steps of each precision,
which cannot be switched, beside. Every uniform bit-width is deployed alone and tested; so is every
mode of the switching file, in onnxruntime. Bytes are those of the switching file and of the file of
the 8-bit network alone.

The images are those of `benchmarks.fidelity`. Every training continues from its checkpoint in
FOLDER, and every result is kept there; start a killed run again with the same command.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from benchmarks.fidelity import BATCH, IMAGE, calibration, images
from benchmarks.kept_training import KeptTraining
from nas.export import export_onnx
from nas.export.runtime import file_outputs
from nas.export.switching import BITS, Switching, export_switching
from nas.files.durable import write_atomic
from search_spaces.policy import Policy, uniform
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from supernets.deploy import Deployment
from supernets.deployed import Deployed
from supernets.training.schedule import TrainingSettings

MODES = (8, 6, 4, 2)
DATA = "report"
# The settings of each training, and whether its networks switch.
TRAININGS: Mapping[str, tuple[Mapping[str, Any], bool]] = MappingProxyType(
    {
        "double-rounding": ({"quantizer": "double-rounding"}, True),
        "double-rounding, ALRS": ({"quantizer": "double-rounding", "callbacks": ("alrs",)}, True),
        "lsq, steps per precision": ({"quantizer": "lsq"}, False),
    }
)


def space() -> SearchSpace:
    """The network at every mix of two bit-widths, that of weights and that of inputs."""
    bits = MODES[::-1]
    policy = Policy(weight_bits=bits, activation_bits=bits, fineness="network")
    widths = ((16,), (16,), (32,), (64,))
    return residual(**IMAGE, widths=widths, depths=((1,), (1,), (1,)), policy=policy)


def measured(training: KeptTraining, *, switches: bool) -> dict[str, Any]:
    """The accuracy of all modes, alone and in the file, and the sizes of both files; kept."""
    key = f"{training.space.fingerprint} {training.settings} {training.data} switching"
    path = training.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if path.exists():
        return json.loads(path.read_text())
    deployment = Deployment(training.trained(), calibration(training.data))
    networks: dict[int, Deployed] = {}
    for bits in MODES:
        genotype = uniform(training.space, bits, training.space.largest)
        assert genotype is not None
        networks[bits] = deployment(genotype)
    found: dict[str, Any] = {"alone": [alone(networks[bits], training.data) for bits in MODES]}
    if switches:
        found |= switched(networks, training.data)
    write_atomic(path, json.dumps(found).encode())
    return found


@torch.no_grad()
def alone(network: Deployed, data: str) -> float:
    """The test accuracy of a deployed network in percent."""
    _, test = images(data)
    module = network.module()
    right = sum(int((module(**x).argmax(1) == y).sum()) for x, y in test.batches(BATCH))
    return 100 * right / len(test)


def switched(networks: Mapping[int, Deployed], data: str) -> dict[str, Any]:
    """The test accuracy of every mode of the switching file, and the sizes of both files."""
    _, test = images(data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "switching.onnx"
        size = export_switching(Switching.of(networks), path)
        single = export_onnx(networks[MODES[0]], Path(folder) / "alone.onnx").file_bytes
        accuracies: list[float] = []
        for bits in MODES:
            parts = [{**x, BITS: torch.tensor(bits)} for x, _ in test.batches(BATCH)]
            out = np.concatenate([*file_outputs(path, parts)])
            accuracies.append(100 * float((out.argmax(1) == test.targets.numpy()).mean()))
    return {"file": accuracies, "bytes": size, "single": single}


def rows(label: str, found: Sequence[Mapping[str, Any]], *, switches: bool) -> list[str]:
    """The lines of the table for one training, whose seeds `found` holds."""
    apart = np.array([one["alone"] for one in found])
    inside = np.array([one["file"] for one in found]) if switches else None
    lines: list[str] = []
    for place, bits in enumerate(MODES):
        each = " / ".join(f"{value:.2f}" for value in apart[:, place])
        cells = f"| {label} | {bits} | {apart[:, place].mean():.2f} ({each}) |"
        if inside is None:
            lines.append(f"{cells} | |")
            continue
        far = np.abs(inside - apart)[:, place].max()
        lines.append(f"{cells} {inside[:, place].mean():.2f} | {far:.2f} |")
    return lines


def main() -> None:
    """Do the missing trainings and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, nargs=2, default=[6, 6])
    parser.add_argument("--run", type=Path, default=Path("runs/switching"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    floats, quantized = options.epochs
    base = TrainingSettings(float_epochs=floats, quantized_epochs=quantized)
    by_seed: dict[str, list[Mapping[str, Any]]] = {label: [] for label in TRAININGS}
    for seed in options.seeds:
        for label, (changed, switches) in TRAININGS.items():
            settings = replace(base, seed=seed, **changed)
            training = KeptTraining(space(), settings, DATA, options.run)
            by_seed[label].append(measured(training, switches=switches))
    print("| training | bits | alone, % (seeds) | in the file, % | largest difference, points |")
    print("| --- | --- | --- | --- | --- |")
    for label, (_, switches) in TRAININGS.items():
        print("\n".join(rows(label, by_seed[label], switches=switches)))
    for label, found in by_seed.items():
        for one in found:
            if "bytes" in one:
                ratio = one["bytes"] / one["single"]
                print(
                    f"{label}: {one['bytes']:,} bytes, 8 bits alone {one['single']:,}: {ratio:.3f}"
                )


if __name__ == "__main__":
    main()
