"""Published tables with bit-widths as targets: searched policies against uniform ones.

    python -m benchmarks.bit_tables [--seeds 3] [--budget 120] [--run FOLDER]

There are two MobileNetV2-like networks of fixed shape. Each of their blocks chooses weight and
activation bits in {4, 6, 8}. The costs are those of the network at 224 x 224, from APQ's BitFusion
table and HAQ's table (with a clock of 200 MHz, which is our assumption). The accuracies are those
of a twin at 32 x 32, since ImageNet is out of reach here: the same layers, strides and choices,
trained as one elastic supernet on a small part of CIFAR-10. The fronts therefore show what a policy
is worth on these devices; they do not show ImageNet accuracies.

The script trains supernets that FOLDER does not hold. It needs the tables and images of
`ELASTIC_NAS_TABLES`, and Pillow.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cifar10_npz import labels, tiles
from benchmarks.search_digits import Remembering, points, sequence
from benchmarks.tables import ROOT
from nas.evaluation.evaluation import flat
from nas.evaluation.measurements import Measurements
from nas.problem.front import hypervolume, nondominated
from nas.problem.goals import Goal, Problem
from nas.recipe.recipe import Recipe, validate_recipe
from nas.run.folder import RunFolder
from nas.run.plan import prepare
from nas.run.steps.searching import evaluator_of
from nas.run.steps.training import trained
from nas.search.guided import Guided
from nas.targets import HardwareTarget
from nas.targets.adapters import target
from nas.targets.adapters.apq import Apq
from nas.targets.adapters.haq import Haq
from nas.terminal.display import Silent
from search_spaces.mobilenet import MOBILENET_V2, Stage, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy, uniform
from search_spaces.space import SearchSpace

BITS = (4, 6, 8)
SHEETS, SIZE = 3, 32
BITWIDTH = ROOT / "bitwidth_luts"
APQ_SHAPE = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2), (320, 1))


@dataclass(frozen=True)
class Case:
    """A published table and the network whose layers are in it.

    Attributes:
        name: The name of the table.
        device: The target made from the table.
        stages: The stages of the network.
        expansion: The expansion of every block.
        classes: The number of classes of the network.
    """

    name: str
    device: HardwareTarget
    stages: tuple[Stage, ...]
    expansion: int
    classes: int

    def space(self, *, size: int, classes: int) -> SearchSpace:
        """The space of the network at a resolution: its bits are choices."""
        return mobilenet(
            inputs=(Input("image", (3, size, size)),),
            output=(classes,),
            stages=self.stages,
            depths=(1,),
            kernels=(3,),
            expansions=(self.expansion,),
            expand_from="input",
            stem=32,
            first=Stage(16, 1, function="relu6"),
            head=1280,
            function="relu6",
            policy=Policy(weight_bits=BITS, activation_bits=BITS, fineness="block"),
        )

    def goal(self, twin: SearchSpace) -> Goal:
        """The goal whose cost is the latency of the network at 224 x 224, for twin genotypes."""
        whole = self.space(size=224, classes=self.classes)
        if [(c.name, c.options) for c in whole.choices] != [
            (c.name, c.options) for c in twin.choices
        ]:
            raise ValueError(f"{self.name}: the twin has other choices than the network")
        return Goal(self.name, self.device.compile(whole), ("latency_ms",))


def cases() -> tuple[Case, Case]:
    """The cases of BitFusion and of HAQ."""
    fixed = BITWIDTH / "apq_bitfusion_b1_fixed.json"
    apq = Apq(fixed=fixed).read(BITWIDTH / "apq_bitfusion_b1.csv.gz")
    haq = Haq(clock_mhz=200.0).read(BITWIDTH / "haq_mobilenetv2_b16.csv.gz")
    apq_stages = tuple(Stage(w, s, function="relu6") for w, s in APQ_SHAPE)
    haq_stages = tuple(replace(stage, depths=()) for stage in MOBILENET_V2)
    return (
        Case("BitFusion", target(apq, "bitfusion"), apq_stages, 4, 1000),
        Case("HAQ", target(haq, "haq"), haq_stages, 6, 100),
    )


def images(path: Path) -> Path:
    """A file of arrays with a part of CIFAR-10: sheets for training and validation, one to test."""
    if not path.exists():
        known = labels(ROOT / "cifar10")
        arrays: dict[str, NDArray[np.generic]] = {}
        for split, count in (("train", SHEETS), ("test", 1)):
            names = [f"{split}_{n:02}" for n in range(count)]
            sheets = [tiles(ROOT / "cifar10" / f"{name}.webp") for name in names]
            arrays[f"x_{split}"] = np.concatenate(sheets)
            arrays[f"y_{split}"] = np.concatenate([known[name] for name in names])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)
    return path


def recipe(case: Case, folder: Path, epochs: int) -> Recipe:
    """The recipe by which a twin is trained and measured."""
    space = folder / f"{case.name}-space.json"
    space.write_text(case.space(size=SIZE, classes=10).to_json())
    augment = {"shift": 4, "flip": True}
    task = {"kind": "arrays", "path": str(images(folder / "cifar10.npz")), "augment": augment}
    training = {"float_epochs": 2 * epochs, "quantized_epochs": epochs, "random_subnets": 1}
    return validate_recipe(
        {
            "name": case.name,
            "task": {**task, "validation_fraction": 1 / SHEETS / 2},
            "space": {"family": "file", "path": str(space)},
            "training": {**training, "batch_size": 64, "learning_rate": 0.1},
            "targets": [{"name": "bit-serial"}],
            "search": {"calibration_samples": 256},
            "compute": {"threads": 1, "device": "cpu"},
        }
    )


def row(case: Case, goal: Goal, mixed: Measurements, fixed: Measurements) -> str:
    """A line of the table: the searched front compared with the uniform policies."""
    found, plain = points(goal, mixed), points(goal, fixed)
    everything = np.concatenate([found, plain])
    reference = everything.max(axis=0) * 1.05
    both = hypervolume(everything, reference)
    shares = [hypervolume(each, reference) / both for each in (found, plain)]
    gains = [_gain(found, error, latency_ms) for error, latency_ms in plain]
    front = found[nondominated(found)]
    return (
        f"| {case.name} | {len(mixed)} | {len(front)} | {shares[0]:.3f} | {shares[1]:.3f} | "
        f"{' | '.join(gains)} |"
    )


def _gain(found: NDArray[np.float64], error: float, latency_ms: float) -> str:
    """The gain of the search: latency saved at no more error, error saved at no more latency."""
    as_good, as_fast = found[found[:, 0] <= error], found[found[:, 1] <= latency_ms * (1 + 1e-9)]
    faster = f"{1 - as_good[:, 1].min() / latency_ms:.1%}" if len(as_good) else "none"
    better = f"{error - as_fast[:, 0].min():.1f}" if len(as_fast) else "none"
    return f"{faster} / {better}"


def main() -> None:
    """Train the missing supernets, search, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--run", type=Path, default=Path("runs/bit-tables"))
    parser.add_argument("--only", choices=["BitFusion", "HAQ"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    uniforms, rows = [], []
    for case in cases():
        if options.only in (None, case.name):
            told, lines = compare(case, options)
            uniforms += told
            rows += lines
    print("| table | bits | error | latency_ms |\n| --- | --- | --- | --- |")
    print("\n".join(uniforms))
    widths = " | ".join(f"against {bits} bits" for bits in reversed(BITS))
    print(f"\n| table, seed | evaluations | on the front | hypervolume | uniform | {widths} |")
    print("| --- |" + " --- |" * (4 + len(BITS)))
    print("\n".join(rows))


def compare(case: Case, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The lines of one case: its uniform policies, and its searches."""
    made = recipe(case, options.run, options.epochs)
    with RunFolder(options.run / case.name).open(made, resume=True) as files:
        plan = prepare(made, files)
        supernet = trained(plan, Silent())
        goal = case.goal(plan.space)
        problem = Problem(plan.space, (goal,))
        with evaluator_of(plan, supernet) as measured:
            evaluate = Remembering(measured)
            picked = (uniform(plan.space, bits, plan.space.smallest) for bits in reversed(BITS))
            there = [genotype for genotype in picked if genotype is not None]
            fixed = Measurements.of(flat(evaluate(there)), plan.space)
            done = (
                sequence(Guided(problem, seed=seed), evaluate, options.budget)
                for seed in range(options.seeds)
            )
            runs = [Measurements.of(each, plan.space) for each in done]
    told = [
        f"| {case.name} | {bits} | {error:.1f} | {latency_ms:.3f} |"
        for bits, (error, latency_ms) in zip(reversed(BITS), points(goal, fixed), strict=True)
    ]
    return told, [
        row(case, goal, run, fixed).replace(case.name, f"{case.name}, {seed}", 1)
        for seed, run in enumerate(runs)
    ]


if __name__ == "__main__":
    main()
