"""Which rewrites round a trained network best, and how long they take: ResNet-20 without training.

    python -m benchmarks.own_model.rounding [--seeds 10] [--run FOLDER]

Rewrites are chosen here, so no test image is looked at: 128 training images calibrate, and 500
other training images judge. The measure is the Kullback-Leibler divergence of the network's
outputs from those of the float network, in thousandths; almost all training images are classified
right. `W4`, `W3` and `W2.5` round all weights per output channel and no input: to 4 bits, to 3
bits, and to 2, 3 or 4 bits by an exact knapsack on squared errors of weights. `W4A4` has weights
and inputs of 4 bits, and 8 bits in the first and last layers. Seconds are those of the process on
one thread, for all rewrites of a policy. Results are kept in FOLDER, and a run continues where it
was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.own_model.data import calibration, images, resnet
from benchmarks.search_tabular import show
from nas.evaluation.rewrites import makers
from nas.files.durable import write_atomic
from nas.search.allocation import allocate
from search_spaces.formats import Int
from search_spaces.opening import Opening, opened
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import Genotype, SearchSpace
from supernets.deployed import values
from supernets.post_training import PostTraining, Preserving
from supernets.post_training.nearest import rounded
from supernets.tracing import Traced, trace

IMAGES, BATCH, JUDGED = 128, 64, 500
SEEDS = (10,)
BITS = (2, 3, 4)
LISTS: Mapping[str, tuple[str, ...]] = {
    name: tuple(name.split(", "))
    for name in (
        "nearest",
        "nearest, norm-repair",
        "equalize, nearest, norm-repair",
        "awq, nearest, norm-repair",
        "gptq",
        "gptq, norm-repair",
        "adaquant",
        "adaquant, norm-repair",
        "smooth, adaquant, norm-repair",
        "awq, adaquant, norm-repair",
        "equalize, gptq, norm-repair",
        "equalize, adaquant, norm-repair",
        "adaround, norm-repair",
        "brecq",
    )
}
CASES = ("W4", "W3", "W2.5", "W4A4")


@cache
def traced() -> Traced:
    """The graph and the tensors of the trained network."""
    return trace(resnet(20), torch.zeros(2, 3, 32, 32))


@cache
def policy(case: str) -> tuple[SearchSpace, Genotype]:
    """The space and the genotype of a case."""
    if case == "W4A4":
        opening = Opening(weights=(4,), activations=(4,), edges=(8,))
        space = SearchSpace(opened(traced().graph, opening), name="resnet20")
        return space, space.smallest
    space = SearchSpace(
        opened(traced().graph, Opening(weights=BITS, activations=(None,))), name="resnet20"
    )
    if case != "W2.5":
        return space, (BITS.index(int(case[1:])),) * len(space.choices)
    return space, mean_bits(space, 2.5)


def mean_bits(space: SearchSpace, mean: float) -> Genotype:
    """The bits of the least squared error of all weights within so many mean bits."""
    network = PostTraining(space, traced().tensors, calibration(0, 1), rewrites=makers(["nearest"]))
    exact = network.reference(space.largest).network
    weights = [exact.weight(made.name.removesuffix(".weight.bits")) for made in space.choices]
    arrays = [values(weight) for weight in weights if weight is not None]
    losses = [
        float(((rounded(array, Quant(Int(bits), PerChannel())).values() - array) ** 2).sum())
        for array in arrays
        for bits in BITS
    ]
    sizes = np.array([array.size for array in arrays], float)
    costs = (sizes[:, None] * np.array(BITS)).ravel()
    counts, budget = np.full(len(arrays), len(BITS)), np.array([mean * sizes.sum()])
    row = allocate(np.array(losses), costs, counts=counts, budgets=budget)[0]
    return tuple(int(option) for option in row)


def with_ranges(names: Sequence[str]) -> list[str]:
    """The rewrites with ranges behind those that keep the function of the float network."""
    keeping = [name for name in names if isinstance(makers([name])[0], Preserving)]
    return [*keeping, "ranges", *(name for name in names if name not in keeping)]


def measured(names: Sequence[str], case: str, seed: int) -> dict[str, float]:
    """The divergence and the seconds of a list of rewrites."""
    space, genotype = policy(case)
    made = PostTraining(
        space,
        traced().tensors,
        calibration(seed, IMAGES, batch=BATCH),
        rewrites=makers(with_ranges(names) if case == "W4A4" else names),
    )
    begun = time.process_time()
    module = made(genotype).module()
    seconds = time.process_time() - begun
    shown = images(("train_20",))[0][:JUDGED]
    with torch.no_grad():
        given, wanted = (
            torch.cat([network(part) for part in shown.split(BATCH)]).log_softmax(1)
            for network in (module, made.full_precision(genotype))
        )
    away = float(F.kl_div(given, wanted, reduction="batchmean", log_target=True))
    return {"divergence": away, "seconds": seconds}


def table(
    found: Mapping[str, Mapping[str, float]], seeds: Sequence[int]
) -> tuple[list[str], list[list[str]]]:
    """The head and the lines: divergences in thousandths, means over seeds, and seconds."""
    lines: list[list[str]] = []
    for name in LISTS:
        runs = [[found[f"{name} {case} {seed}"] for seed in seeds] for case in CASES]
        cells = [1000 * np.mean([run["divergence"] for run in case]) for case in runs]
        seconds = np.mean([run["seconds"] for case in runs for run in case])
        lines.append([name, *(f"{cell:.1f}" for cell in cells), f"{seconds:.1f}"])
    return ["rewrites", *CASES, "seconds"], lines


def main() -> None:
    """Measure all lists of rewrites, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--run", type=Path, default=Path("runs/own_rounding"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.run / "rounding.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(path.read_text()) if path.exists() else {}
    for seed in options.seeds:
        for name, names in LISTS.items():
            for case in CASES:
                if f"{name} {case} {seed}" not in found:
                    found[f"{name} {case} {seed}"] = measured(names, case, seed)
                    write_atomic(path, json.dumps(found, indent=1).encode())
    show(*table(found, options.seeds))


if __name__ == "__main__":
    main()
