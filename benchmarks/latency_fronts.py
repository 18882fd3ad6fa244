"""The use of a measured table: int8 against float32, and fronts found by latency, MACs or BitOPs.

    python -m benchmarks.latency_fronts [--seeds 3] [--budget 80] [--run FOLDER]

Twins are random subnets in int8 and in float32, measured as a whole. For the fronts, one supernet
is trained on a part of CIFAR-10, and one search runs per seed and objective, with equal budgets.
The networks of each found front are exported and measured, in turns, and the fronts are compared as
measured. FOLDER keeps supernet, table and evaluations, so a stopped run continues. The plot goes to
`docs/figures`. The script needs the image sheets of `ELASTIC_NAS_TABLES`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cifar10_npz import labels, tiles
from benchmarks.fronts import beaten, corner_of, share, slower
from benchmarks.latency import POLICIES, spaces
from benchmarks.tables import ROOT
from nas.evaluation.evaluation import Evaluation, flat
from nas.evaluation.measurements import Measurements
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.export import export_onnx
from nas.problem.front import measured_front, nondominated
from nas.problem.goals import ArrayCost, Goal, Problem
from nas.profiling import OnnxRuntime
from nas.profiling.whole_networks import in_turns, measure
from nas.recipe.recipe import Recipe, validate_recipe
from nas.run.folder import RunFolder
from nas.run.measuring import deployment_of
from nas.run.plan import Plan, prepare
from nas.run.steps.searching import archive_of, evaluator_of
from nas.run.steps.this_machine import profiled
from nas.run.steps.training import trained
from nas.search.guided import Guided
from nas.search.loop import search
from nas.targets.saturation import EightBitWeights
from nas.terminal.display import Silent
from search_spaces.ops import Conv2d
from search_spaces.quant import bits_of
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from supernets.supernet import Supernet

FloatArray = NDArray[np.float64]
TWINS, BATCH = 30, 10
SHEETS = ("train_00", "train_01", "train_02", "train_03", "train_04")
PLOT = Path(__file__).parent.parent / "docs" / "figures" / "latency-fronts.svg"
TABLE = "measured table"
COLOURS = {TABLE: "#1b6ca8", "MACs": "#c2571a", "BitOPs": "#5a8f29"}


def recipe(folder: Path) -> Recipe:
    """The recipe: a small residual space on 10,000 images of CIFAR-10, 2,000 for validation."""
    path = folder / "cifar10.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **_images(ROOT / "cifar10"))
    return validate_recipe(
        {
            "name": "latency-fronts",
            "task": {
                "kind": "arrays",
                "path": str(path),
                "validation_fraction": 0.2,
                "augment": {"shift": 2, "flip": True},
            },
            "space": {
                "family": "residual",
                "image_sizes": [16],
                "widths": [[8, 16], [8, 16, 24], [16, 24, 32], [24, 32, 48]],
                "depths": [[1, 2]] * 3,
                "kernels": [3, 5],
                "policy": {
                    "weight_bits": [2, 4, 8, "float"],
                    "activation_bits": [4, 8, "float"],
                    "fineness": "block",
                },
            },
            "training": {
                "float_epochs": 8,
                "quantized_epochs": 4,
                "batch_size": 64,
                "learning_rate": 0.1,
                "random_subnets": 1,
            },
            "targets": [{"name": "this-cpu"}],
            "search": {"proxies": 0, "validation_samples": 1000, "calibration_samples": 256},
            "compute": {"threads": 1, "device": "cpu"},
        }
    )


def _images(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """The images and labels: five sheets for training and validation, one for the test."""
    classes = labels(folder)
    parts = {"train": SHEETS, "test": ("test_00",)}
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, names in parts.items():
        arrays[f"x_{split}"] = np.concatenate([tiles(folder / f"{n}.webp") for n in names])
        arrays[f"y_{split}"] = np.concatenate([classes[n] for n in names])
    return arrays


def twins(seed: int) -> list[str]:
    """The lines of the table of int8 against float32, one per family."""
    lines: list[str] = []
    floats, integers = spaces(POLICIES["float32"]), spaces(POLICIES["int8"])
    for family, space in floats.items():
        drawn = as_genotypes(space.sample_array(np.random.default_rng(seed), TWINS))
        names = [made.name for made in space.choices]
        assert names == [made.name for made in integers[family].choices]
        whole = [measure(one, drawn, backend=OnnxRuntime()) for one in (space, integers[family])]
        ratio = whole[0] / whole[1]
        low, middle, high = np.quantile(ratio, (0.1, 0.5, 0.9))
        faster = (ratio > 1).mean()
        lines.append(
            f"| {family} | {TWINS} | {middle:.2f} | {low:.2f} to {high:.2f} | {faster:.0%} |"
        )
    return lines


@dataclass(frozen=True, eq=False)
class Found:
    """The front of one search, as measured.

    Attributes:
        validation: Latency in ms and validation error in percent, `(n, 2)`.
        test: Latency in ms and test error in percent, `(n, 2)`.
        precisions: Two shares of the convolutions between the first and the last layer, `(n, 2)`:
            those that run in floats, and those that run in integers with weights below 8 bits.
    """

    validation: FloatArray
    test: FloatArray
    precisions: FloatArray


def objectives(plan: Plan) -> dict[str, ArrayCost]:
    """The costs that the searches minimise beside the error, by name."""
    latency = plan.problem.goals[0].costs["latency_ms"]
    shared = plan.costs.shared
    return {TABLE: latency, "MACs": shared["macs"], "BitOPs": shared["bitops"]}


def fronts(
    plan: Plan, supernet: Supernet, *, seeds: int, budget: int
) -> dict[str, list[list[Genotype]]]:
    """The fronts that the searches found, by objective and seed."""
    archive = archive_of(plan)
    found: dict[str, list[list[Genotype]]] = {name: [] for name in objectives(plan)}
    with evaluator_of(plan, supernet) as evaluate:
        for (name, cost), seed in product(objectives(plan).items(), range(seeds)):
            goal = Goal(name, {name: cost}, (name,))
            searcher = Guided(Problem(plan.space, (goal,)), seed=seed)
            # A network that an earlier search evaluated is looked up, and counts as evaluated.
            told = search(searcher, evaluate, archive, budget=budget, batch=BATCH)
            front = measured_front(goal, Measurements.of(told, plan.space))
            found[name].append([one.genotype for one in front])
    return found


def measured(
    plan: Plan, supernet: Supernet, found: Mapping[str, Sequence[Sequence[Genotype]]]
) -> dict[str, list[Found]]:
    """The measured fronts by objective; all networks are exported and timed in turns."""
    picked = sorted({genotype for each in found.values() for front in each for genotype in front})
    latency = dict(zip(picked, latencies(plan, supernet, picked), strict=True))
    validation = {one.genotype: one for one in archive_of(plan).evaluations()}
    test = tested(plan, supernet, picked)

    def points(front: Sequence[Genotype], errors: Mapping[Genotype, Evaluation]) -> FloatArray:
        return np.array([[latency[g], errors[g].error] for g in front])

    return {
        name: [
            Found(
                points(front, validation),
                points(front, test),
                np.array([precisions(plan.space, genotype) for genotype in front]),
            )
            for front in each
        ]
        for name, each in found.items()
    }


def latencies(plan: Plan, supernet: Supernet, picked: Sequence[Genotype]) -> FloatArray:
    """The latencies of the exported networks in ms, `(n,)`."""
    deployment = deployment_of(plan, supernet)
    weights: EightBitWeights = next(
        one.eight_bit_weights for one in plan.targets if one.name == "this-cpu"
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.onnx" for number in range(len(picked))]
        for genotype, path in zip(picked, paths, strict=True):
            export_onnx(deployment(genotype), path, eight_bit_weights=weights)
        return in_turns(paths, backend=OnnxRuntime())


def tested(
    plan: Plan, supernet: Supernet, picked: Sequence[Genotype]
) -> dict[Genotype, Evaluation]:
    """The same networks on the test images, which no search has seen."""
    batches = [*plan.task.test_batches(512)]
    evaluate = SupernetEvaluator(
        deployment_of(plan, supernet),
        batches,
        criterion=plan.task.criterion,
        seed=plan.recipe.seed,
    )
    return {one.genotype: one for one in flat(evaluate(picked))}


def precisions(space: SearchSpace, genotype: Genotype) -> tuple[float, float]:
    """The two shares of `Found.precisions`."""
    nodes = space.decode(genotype).nodes
    made = [n.op for a, n in nodes.items() if isinstance(n.op, Conv2d) and a != "stem"]
    floats = [op.weight is None or op.activation is None for op in made]
    few = [bits_of(op.weight) < 8 and not real for op, real in zip(made, floats, strict=True)]
    return float(np.mean(floats)), float(np.mean(few))


def compared(results: Mapping[str, Sequence[Found]]) -> list[str]:
    """The lines that compare the fronts: with all of the same seed, and with the table's front."""
    lines = [
        "| front found with | networks on it | least error | hypervolume, validation | test "
        "| all seeds' together | layers in floats | in integers, weights below 8 bits |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, each in results.items():
        count = np.mean([len(one.validation) for one in each])
        mixed = np.concatenate([one.precisions for one in each]).mean(axis=0)
        told = [spread(shares(results, name, split)) for split in ("validation", "test")]
        pooled = share(*pool(results, name), corner_of(pool(results, name)[1]))
        least = np.mean([one.validation[:, 1].min() for one in each])
        lines.append(
            f"| {name} | {count:.0f} | {least:.1f} % | {told[0]} | {told[1]} | {pooled:.1%} | "
            f"{mixed[0]:.0%} | {mixed[1]:.0%} |"
        )
    lines += [
        "\n| front found with | beside | slower at equal error | beaten by that | beats of that |",
        "| --- | --- | --- | --- | --- |",
    ]
    table = [one.validation for one in results[TABLE]]
    for name, each in results.items():
        mine = [one.validation for one in each]
        # The table's fronts are compared with those of the next seed: the effect of chance alone.
        other, beside = (
            ([*table[1:], table[0]], "measured table, another seed")
            if name == TABLE
            else (table, TABLE)
        )
        pairs = list(zip(mine, other, strict=True))
        lines.append(
            f"| {name} | {beside} | {spread([slower(*pair) for pair in pairs], sign='+')} | "
            f"{spread([beaten(*pair) for pair in pairs])} | "
            f"{spread([beaten(b, a) for a, b in pairs])} |"
        )
    return lines


def shares(results: Mapping[str, Sequence[Found]], name: str, split: str) -> list[float]:
    """The share of the hypervolume of all fronts of the same seed, per seed."""
    everything = np.concatenate([getattr(f, split) for each in results.values() for f in each])
    corner = corner_of(everything)
    whole = [
        np.concatenate([getattr(each[seed], split) for each in results.values()])
        for seed in range(len(results[name]))
    ]
    fronts = (getattr(one, split) for one in results[name])
    return [share(front, all_, corner) for front, all_ in zip(fronts, whole, strict=True)]


def deviation(
    plan: Plan,
    found: Mapping[str, Sequence[Sequence[Genotype]]],
    results: Mapping[str, Sequence[Found]],
) -> float:
    """The median relative error of the table's predictions for the fronts found with it."""
    predicted = objectives(plan)[TABLE](np.array([g for front in found[TABLE] for g in front]))
    latency = np.concatenate([one.validation[:, 0] for one in results[TABLE]])
    return float(np.median(np.abs(predicted / latency - 1)))


def pool(results: Mapping[str, Sequence[Found]], name: str) -> tuple[FloatArray, FloatArray]:
    """The networks that all seeds found with one objective, and with any objective."""
    mine = np.concatenate([one.validation for one in results[name]])
    return mine, np.concatenate([one.validation for each in results.values() for one in each])


def spread(values: Sequence[float], *, sign: str = "") -> str:
    """The mean and the standard deviation over seeds, as text."""
    return f"{np.mean(values):{sign}.1%} ± {np.std(values):.1%}"


def draw(results: Mapping[str, Sequence[Found]]) -> None:
    """Draw all found networks as measured, and the best of all seeds per objective as a line."""
    plt.rcParams["svg.hashsalt"] = "latency_fronts"
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, each in results.items():
        points = np.concatenate([one.validation for one in each])
        best = points[nondominated(points)]
        best = best[np.argsort(best[:, 0])]
        axes.scatter(*points.T, s=12, color=COLOURS[name], alpha=0.5)
        axes.step(*best.T, where="post", lw=1.5, color=COLOURS[name], label=f"found with {name}")
    axes.set(xlabel="measured latency, ms", ylabel="validation error, %", xscale="log")
    axes.legend(frameon=False)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=80, help="evaluations of a search")
    parser.add_argument("--run", type=Path, default=Path("runs/latency-fronts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    asked = recipe(options.run)
    with RunFolder(options.run).open(asked, resume=True) as files:
        plan = profiled(prepare(asked, files), Silent())
        supernet = trained(plan, Silent())
        found = fronts(plan, supernet, seeds=options.seeds, budget=options.budget)
        results = measured(plan, supernet, found)
        evaluated, off = len(archive_of(plan)), deviation(plan, found, results)
    print("| family | subnets | float32 / int8, median | 10 % to 90 % | int8 faster |")
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(twins(0)) + "\n")
    print("\n".join(compared(results)))
    draw(results)
    print(
        f"\nMean and standard deviation over {options.seeds} seeds; {options.budget} evaluations a "
        f"search, {evaluated} distinct networks in all. Hypervolumes, of error against the "
        "logarithm of the measured latency, are shares of that of all three fronts of a seed. What "
        f"the calibrated table predicts of its own fronts is {off:.1%} off at the median."
    )


if __name__ == "__main__":
    main()
