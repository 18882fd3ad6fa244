"""Exported files against their networks, per family and policy, as a Markdown table.

Trains one small supernet per family on digits, with every precision of every layer open, then
exports random architectures under each policy and runs the files on the test images. Takes a few
minutes: `python -m benchmarks.export`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas.export.check import Verification, verify
from nas.export.onnx import export_onnx
from nas.export.runtime import kernels_run
from nas.export.size import ONNX_FUSION, onnx_bytes
from nas.tasks.digits import DigitsTask
from nas.tasks.task import Task
from search_spaces.costs import total
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace
from supernets.deploy import deploy
from supernets.extract import extract
from supernets.supernet import Supernet
from supernets.train import TrainingSettings, train

BITS = (2, 3, 4, 6, 8, None)
OPEN = Policy(
    weight_bits=BITS,
    activation_bits=BITS,
    weight_granularities=(PerTensor(), PerChannel()),
    weight_symmetries=(True, False),
    activation_symmetries=(False, True),
    fineness="layer",
)


@dataclass(frozen=True)
class Row:
    """A policy: which option indices its precision choices take; None leaves them random."""

    name: str
    picks: dict[str, int] | None


def rows() -> Iterator[Row]:
    """The policies of the table."""
    plain = {"granularity": 1, "weight.symmetric": 0, "activation.symmetric": 0}
    for position, bits in enumerate(BITS):
        yield Row("float" if bits is None else f"{bits} bits", {**plain, "bits": position})
    eight = {**plain, "bits": BITS.index(8)}
    yield Row("8 bits, weights per tensor", {**eight, "granularity": 0})
    yield Row("8 bits, weights asymmetric", {**eight, "weight.symmetric": 1})
    yield Row("8 bits, activations symmetric", {**eight, "activation.symmetric": 1})
    yield Row("mixed, every layer its own", None)


def spaces(task: Task) -> Iterator[SearchSpace]:
    """One small space per family."""
    shared = {
        "channels": task.channels,
        "classes": task.classes,
        "image_sizes": (task.image_size,),
        "kernels": (3, 5),
        "policy": OPEN,
    }
    yield residual(**shared, widths=((8, 16), (16, 24), (24, 32)), depths=((1, 2), (1, 2)))
    stages = (Stage(16, 1), Stage(24, 2, squeeze_excite=True), Stage(32, 1, function="hardswish"))
    small = {"stem": 16, "stem_stride": 1, "head": 64}
    yield mobilenet(**shared, **small, stages=stages, depths=(1, 2), expansions=(2, 3))


def trained(space: SearchSpace, task: Task, epochs: int, folder: Path) -> Supernet:
    """A supernet of `space` trained on `task`, half the epochs in full precision."""
    supernet = Supernet(space, seed=0)
    settings = TrainingSettings(float_epochs=epochs // 2, quantized_epochs=epochs - epochs // 2)
    train(supernet, task.train, settings, state_path=folder / f"{space.name}.safetensors")
    return supernet


def genotype_of(space: SearchSpace, row: Row, rng: np.random.Generator) -> Genotype:
    """A random architecture under the policy of `row`."""
    picks = list(space.sample(rng))
    for name, option in (row.picks or {}).items():
        for position, made in enumerate(space.choices):
            if made.name.endswith(f".{name}") and len(made.options) > option:
                picks[position] = option
    return space.canonical(picks)


@dataclass(frozen=True)
class Measured:
    """One exported file."""

    verification: Verification
    integer: int
    convolutions: int
    size_error: float


def measure(supernet: Supernet, genotype: Genotype, task: Task, path: Path) -> Measured:
    """Export one subnet, run it on the test images, and hold its size against the foretold one."""
    space = supernet.space
    deployed = deploy(extract(supernet, genotype, task.calibration(256, 64)))
    metadata = {"genotype": str(genotype), "space": space.fingerprint, "version": "0.1.0"}
    report = export_onnx(deployed, path, metadata=metadata)
    images, labels = (torch.cat(part) for part in zip(*task.test_batches(256), strict=True))
    verification = verify(path, deployed, images, labels)
    integer = kernels_run(path).get("QLinearConv", 0)
    foretold = total(onnx_bytes, space.decode(genotype), ONNX_FUSION)
    error = 100 * (foretold / report.file_bytes - 1)
    return Measured(verification, integer, verification.nodes["Conv"], error)


def line(family: str, row: Row, files: list[Measured]) -> str:
    """One line of the table."""
    checks = [file.verification for file in files]

    def mean(value: Callable[[Verification], float]) -> float:
        return float(np.mean([value(check) for check in checks]))

    gap = max(abs(check.network_accuracy - check.file_accuracy) for check in checks)
    integer = 100 * sum(f.integer for f in files) / sum(f.convolutions for f in files)
    cells = [
        family,
        row.name,
        str(len(files)),
        f"{mean(lambda check: check.file_accuracy):.2f}",
        f"{gap:.2f}",
        f"{max(check.largest_difference for check in checks):.2g}",
        f"{mean(lambda check: check.agreement):.3f}",
        f"{integer:.0f}",
        f"{max((file.size_error for file in files), key=abs):+.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10, help="exported subnets per line")
    parser.add_argument("--epochs", type=int, default=40, help="epochs of supernet training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = DigitsTask().load()
    titles = "family|policy|files|test accuracy of the file, %|largest accuracy gap, points"
    titles += "|largest logit difference|same answer, %|convolutions on integers, %"
    titles += "|largest size error, %"
    print(f"| {titles.replace('|', ' | ')} |\n|{'---|' * 9}")
    with tempfile.TemporaryDirectory() as folder:
        for space in spaces(task):
            supernet = trained(space, task, arguments.epochs, Path(folder))
            for row in rows():
                rng = np.random.default_rng(0)
                picked = [genotype_of(space, row, rng) for _ in range(arguments.files)]
                path = Path(folder) / "subnet.onnx"
                files = [measure(supernet, genotype, task, path) for genotype in picked]
                print(line(space.name, row, files), flush=True)


if __name__ == "__main__":
    main()
