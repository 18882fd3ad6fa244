"""Exported files compared with their networks, per family and policy, as a Markdown table.

The script trains one small supernet per family on digits, with every precision of every layer open.
It then exports random architectures under each policy in every form and runs the files on the test
images. Since `torch.export` takes seconds per network, it gets one network per line. All takes
about ten minutes: `python -m benchmarks.export`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from nas.export import FORMS, Exporter, Verification, bytes_of, forms_for, verify
from nas.export.runtime import kernels_run
from nas.export.stand_in import stand_in
from nas.tasks.digits import DigitsTask
from nas.tasks.task import Task
from search_spaces.graph import Graph
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace
from supernets.deploy import deploy
from supernets.deployed import Deployed
from supernets.extract import extract
from supernets.supernet import Supernet
from supernets.training.train import TrainingSettings, train

BITS = (2, 3, 4, 5, 6, 8, None)
ALWAYS = ("onnx", "torch", "torch-export")
INTEGER, FLOAT = ("QLinearConv", "QGemm"), ("Conv", "FusedConv", "Gemm", "FusedGemm")
SLOW = ("torch-export", "openvino", "executorch")
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
    """A line of the table: a policy, as option indices of precision choices; None is random."""

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
        "inputs": task.inputs,
        "output": task.output,
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
    state = folder / f"{space.name}.safetensors"
    train(supernet, task.train, settings, criterion=task.criterion, state_path=state)
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
    """The results of one network in one form.

    `integer` is the share of its kernels with weights that ran on integers.
    """

    verification: Verification
    size_error: float
    integer: float = 0.0


def measure(
    form: Exporter, deployed: Deployed, graph: Graph, task: Task, folder: Path, genotype: Genotype
) -> Measured:
    """Export one subnet, run it on the test images, and compare its size with the predicted one."""
    path = folder / f"subnet{form.suffix}"
    deployed = replace(deployed, metadata={"genotype": str(genotype), "run": "benchmark"})
    form.write(deployed, path)
    verification = verify(path, deployed, *task.test_samples(), criterion=task.criterion)
    foretold = form.foretold_bytes(replace(stand_in(graph), metadata=deployed.metadata))
    error = 100 * (foretold / bytes_of(path) - 1)
    return Measured(verification, error, integer_share(path) if form.name == "onnx" else 0.0)


def integer_share(path: Path) -> float:
    """The percentage of convolutions and matrix products that onnxruntime computes on integers."""
    kernels = kernels_run(path)
    integer = sum(kernels.get(name, 0) for name in INTEGER)
    return 100 * integer / (integer + sum(kernels.get(name, 0) for name in FLOAT))


def measured(
    supernet: Supernet,
    row: Row,
    task: Task,
    folder: Path,
    *,
    count: int,
    forms: Sequence[Exporter],
) -> dict[str, list[Measured]]:
    """The results of `count` random subnets under a policy, by form; of one for a slow form."""
    space, rng = supernet.space, np.random.default_rng(0)
    found: dict[str, list[Measured]] = {form.name: [] for form in forms}
    for position in range(count):
        genotype = genotype_of(space, row, rng)
        deployed = deploy(extract(supernet, genotype, task.calibration(256, 64)))
        for form in forms:
            if position == 0 or form.name not in SLOW:
                graph = space.decode(genotype)
                found[form.name].append(measure(form, deployed, graph, task, folder, genotype))
    return found


def line(family: str, row: Row, found: dict[str, list[Measured]]) -> str:
    """One line of the table."""
    onnx = found["onnx"]
    checks = [file.verification for file in onnx]

    def mean(values: Iterable[float]) -> str:
        return f"{float(np.mean([*values])):.2f}"

    gap = max(abs(c.network_error - c.file_error) for c in checks)
    cells = [
        family,
        row.name,
        str(len(onnx)),
        mean(100 - check.file_error for check in checks),
        f"{gap:.2f}",
        mean(check.agreement for check in checks),
        *(f"{max(f.verification.largest_difference for f in fs):.2g}" for fs in found.values()),
        mean(file.integer for file in onnx),
        *(f"{max((f.size_error for f in fs), key=abs):+.2f}" for fs in found.values()),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=4, help="exported subnets per line")
    parser.add_argument("--epochs", type=int, default=40, help="epochs of supernet training")
    extra = [name for name in FORMS if name not in ALWAYS]
    parser.add_argument("--also", nargs="*", default=[], choices=extra, help="forms of extras")
    arguments = parser.parse_args()
    forms = forms_for([*ALWAYS, *arguments.also])
    torch.set_num_threads(1)
    task = DigitsTask().load()
    names = [form.name for form in forms]
    titles = ["family", "policy", "networks", "onnx: test accuracy, %", "largest gap, points"]
    titles += ["same answer, %", *(f"{name}: largest logit difference" for name in names)]
    titles += ["onnx: on integers, %", *(f"{name}: largest size error, %" for name in names)]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    with tempfile.TemporaryDirectory() as place:
        for space in spaces(task):
            supernet = trained(space, task, arguments.epochs, Path(place))
            for row in rows():
                found = measured(
                    supernet, row, task, Path(place), count=arguments.files, forms=forms
                )
                print(line(space.name, row, found), flush=True)


if __name__ == "__main__":
    main()
