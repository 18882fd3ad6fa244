"""Uniform float16 and bfloat16 of a trained network beside float32 and int8.

    python -m benchmarks.own_model.sixteen [--depth 20] [--seeds 0 1 2] [--images 128]
        [--run FOLDER]

Each policy is exported without training, and its file judged on all test images in onnxruntime.
All files, with 8-bit weights as this processor adds them right, then run in turns; times are those
of the processor. A seed draws the calibration images,
on which only int8 depends. A run continues where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.own_model.data import TEST, calibration, images, resnet
from benchmarks.search_tabular import show
from nas.evaluation.rewrites import post_training
from nas.export import export_onnx
from nas.export.runtime import file_outputs
from nas.files.durable import write_atomic
from nas.own.uniform import FLOAT, uniform_policies
from nas.profiling.side_by_side import side_by_side
from nas.run.plan import THIS_CPU
from nas.targets import load_target
from search_spaces.formats import BFLOAT16, FLOAT16
from search_spaces.opening import Opening, opened
from search_spaces.space import SearchSpace
from supernets.tracing import trace

OPENING = Opening(
    weights=(8, FLOAT16, BFLOAT16, None),
    activations=(8, FLOAT16, BFLOAT16, None),
    others=(8, FLOAT16, BFLOAT16, None),
)
REWRITES = ("ranges", "nearest", "round-biases")
CALIBRATED, BATCH = "int8", 250
POLICIES = (
    *(FLOAT, CALIBRATED),
    *("float16 weights, float32 activations", "float16"),
    *("bfloat16 weights, float32 activations", "bfloat16"),
)


def written(folder: Path, *, depth: int, seeds: Sequence[int], count: int) -> dict[str, Path]:
    """The files of all policies, by name; int8 has one for each seed."""
    files = {name: folder / f"{name.replace(' ', '-')}.onnx" for name in POLICIES}
    files |= {f"{CALIBRATED} {seed}": folder / f"{CALIBRATED}-{seed}.onnx" for seed in seeds[1:]}
    weights = load_target(THIS_CPU).eight_bit_weights
    for seed in seeds:
        here = {
            name: path
            for name, path in files.items()
            if (name == f"{CALIBRATED} {seed}" or (seed == seeds[0] and name in POLICIES))
            and not path.exists()
        }
        if not here:
            continue
        shown = calibration(seed, count)
        held = trace(resnet(depth), shown[0]["image"])
        space = SearchSpace(opened(held.graph, OPENING))
        [name] = (op.name for op in held.graph.inputs.values())
        made = post_training(
            space,
            held.tensors,
            [{name: batch["image"].contiguous()} for batch in shown],
            rewrites=REWRITES,
        )
        named = {one.name: one.genotype for one in uniform_policies(space)}
        for policy, path in here.items():
            known = CALIBRATED if policy.startswith(CALIBRATED) else policy
            export_onnx(made(named[known]), path, eight_bit_weights=weights)
    return files


def accuracy(path: Path) -> float:
    """The accuracy of a file on all test images, in percent."""
    shown, known = images(TEST)
    batches = ({"image": part.contiguous()} for part in shown.split(BATCH))
    found = np.concatenate([*file_outputs(path, batches)])
    return 100 * float((found.argmax(1) == known.numpy()).mean())


def results(files: Mapping[str, Path], kept: Path) -> dict[str, Any]:
    """Accuracies, bytes and times; those that the file `kept` holds are not found again."""
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"right": {}}
    for name, path in files.items():
        if name not in found["right"]:
            found["right"][name] = accuracy(path)
            write_atomic(kept, json.dumps(found).encode())
    if "times" not in found:
        first = {name: files[name] for name in POLICIES}
        timed = side_by_side(first, reference=FLOAT, clock=time.thread_time_ns)
        found["times"] = {name: asdict(one) for name, one in timed.items()}
        write_atomic(kept, json.dumps(found).encode())
    return found


def lines(files: Mapping[str, Path], found: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line of the table per policy."""
    for name in POLICIES:
        one = found["times"][name]
        right = [found["right"][name]]
        if name == CALIBRATED:
            right = [value for each, value in found["right"].items() if each.startswith(name)]
        spread = f" ± {np.std(right, ddof=1):.2f}" if len(right) > 1 else ""
        yield [
            name,
            f"{np.mean(right):.2f}{spread} %",
            f"{files[name].stat().st_size / 1000:,.0f} kB",
            f"{one['median_ms']:.3f} ({one['middle_ms'][0]:.3f} to {one['middle_ms'][1]:.3f})",
            f"{one['ratio']:.2f} ({one['interval'][0]:.2f} to {one['interval'][1]:.2f})",
        ]


def main() -> None:
    """Do what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--run", type=Path, default=Path("runs/own_model/sixteen"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.run.mkdir(parents=True, exist_ok=True)
    files = written(asked.run, depth=asked.depth, seeds=asked.seeds, count=asked.images)
    found = results(files, asked.run / "results.json")
    header = ["policy", "accuracy", "file", "measured, ms", "beside float32"]
    show(header, [*lines(files, found)])


if __name__ == "__main__":
    main()
