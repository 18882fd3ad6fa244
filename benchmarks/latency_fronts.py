"""What a measured table is good for: int8 twins, and fronts found with latency, MACs or BitOPs.

Twins: random subnets in int8 and in float32, measured end to end. Fronts: one supernet on digits,
every subnet of a random sample evaluated once; each objective picks its front from the same
evaluations, and all picked subnets are measured end to end. The plot goes to `docs/figures`. Takes
about five minutes of one core: `python -m benchmarks.latency_fronts`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.latency import POLICIES, spaces
from nas.evaluators import SupernetEvaluator
from nas.search.front import hypervolume, nondominated
from nas.targets import load_target
from nas.targets.calibration import calibration_path
from nas.targets.profiling import OnnxRuntime, profile
from nas.targets.profiling.whole import calibrate, measure
from nas.tasks.digits import DigitsTask
from search_spaces import costs
from search_spaces.costs import compile_cost
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import IntArray, SearchSpace, as_genotypes
from supernets.supernet import Supernet
from supernets.train import TrainingSettings, train

FloatArray = NDArray[np.float64]
TWINS = 30
PLOT = Path(__file__).parent.parent / "docs" / "figures" / "latency-fronts.svg"
COLOURS = {"measured table": "#1b6ca8", "MACs": "#c2571a", "BitOPs": "#5a8f29"}


def twins(seed: int) -> list[str]:
    """Lines of the table of ratios, one per family."""
    lines = []
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


def subnets(
    space: SearchSpace, *, count: int, epochs: int, seed: int
) -> tuple[IntArray, FloatArray]:
    """Random genotypes `(n, choices)` and their validation errors in percent `(n,)`."""
    task = DigitsTask().load()
    supernet = Supernet(space, seed=seed)
    settings = TrainingSettings(
        float_epochs=epochs, quantized_epochs=epochs, random_subnets=1, seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        train(supernet, task.train, settings, state_path=Path(folder) / "s.safetensors")
    rows = np.unique(space.sample_array(np.random.default_rng(seed), count), axis=0)
    evaluate = SupernetEvaluator(
        supernet, task.calibration(256, 64), [*task.batches("validation", 256)], seed=seed
    )
    found = [evaluation.metrics["error"] for evaluation in evaluate(as_genotypes(rows))]
    return rows, np.array(found)


def space_of_fronts() -> SearchSpace:
    """Residual networks whose kernels, depths, widths and bits of weights are open."""
    return residual(
        channels=1,
        classes=10,
        image_sizes=(16,),
        widths=((8, 16, 24), (8, 16, 32), (16, 32, 48)),
        depths=((1, 2), (1, 2)),
        kernels=(3, 5),
        policy=Policy(weight_bits=(4, 8, None), activation_bits=(8, None), fineness="stage"),
    )


def objectives(space: SearchSpace, seed: int) -> dict[str, Callable[..., FloatArray]]:
    """What each search would minimise beside the error."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "this-cpu.csv"
        backend = OnnxRuntime()
        profile(load_target("this-cpu", table=table).natively(space), path=table, backend=backend)
        target = load_target("this-cpu", table=table)
        calibrate(target, space, backend=backend, seed=seed).write(calibration_path(table))
        latency = load_target("this-cpu", table=table).compile(space)["latency_ms"]
    return {
        "measured table": latency,
        "MACs": compile_cost(space, costs.macs),
        "BitOPs": compile_cost(space, costs.bitops),
    }


def fronts(*, count: int, epochs: int, seed: int) -> list[str]:
    """Lines of the table of fronts, one per objective; draws the plot."""
    space = space_of_fronts()
    rows, errors = subnets(space, count=count, epochs=epochs, seed=seed)
    picked = {
        name: np.flatnonzero(nondominated(np.column_stack([cost(rows), errors])))
        for name, cost in objectives(space, seed).items()
    }
    # Every evaluated subnet is measured: the corner and the best front possible are then known.
    latency = measure(space, as_genotypes(rows), backend=OnnxRuntime())
    points = np.column_stack([latency, errors])
    corner = np.array([latency.max(), np.quantile(errors, 0.75)])
    best = hypervolume(points, corner)
    draw(points, picked)
    return [
        f"| {name} | {len(chosen)} | {hypervolume(points[chosen], corner) / best:.1%} | "
        f"{nondominated(points)[chosen].mean():.0%} |"
        for name, chosen in picked.items()
    ]


def draw(points: FloatArray, picked: dict[str, NDArray[np.int64]]) -> None:
    """The measured plane as a small SVG."""
    figure, axes = plt.subplots(figsize=(6, 4))
    axes.scatter(*points.T, s=8, color="#bbbbbb", label="evaluated subnets")
    for name, chosen in picked.items():
        front = points[chosen][np.argsort(points[chosen][:, 0])]
        axes.plot(*front.T, "o-", ms=4, lw=1, color=COLOURS[name], label=f"found with {name}")
    axes.set(xlabel="measured latency, ms", ylabel="validation error, %", xscale="log")
    axes.legend(frameon=False)
    figure.savefig(PLOT, bbox_inches="tight")


def main() -> None:
    """Print both tables and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subnets", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=6, help="in floats, and as many quantized")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| family | subnets | float32 / int8, median | 10 % to 90 % | int8 faster |")
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(twins(options.seed)), flush=True)
    print("\n| front found with | subnets on it | hypervolume, measured | truly on the front |")
    print("| --- | --- | --- | --- |")
    lines = fronts(count=options.subnets, epochs=options.epochs, seed=options.seed)
    print("\n".join(lines))
    print(
        "\nHypervolume as a share of that of the true front among the same evaluated subnets; "
        f"{options.subnets} drawn at random, all measured end to end."
    )


if __name__ == "__main__":
    main()
