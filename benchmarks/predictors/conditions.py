"""Predictors on a quantized supernet of our own: bits of each layer, granularity and symmetry.

    python -m benchmarks.predictors conditions [--sizes 100 500 2000] [--seeds 10] [--run FOLDER]

A ResNet-8 for CIFAR-10 at 16 x 16 is trained as a supernet whose layers choose 2 to 8 bits for
weights and inputs, per tensor or per channel, symmetric or not. Subnets are extracted and classify
1,000 test images. Predictors learn random ones of these and rank up to 1,000 others by their
cross-entropy; the error hardly differs between these networks.

As in EQ-Net's sampling (Xu et al. 2023), the mean of the bits is about uniform: each network draws
a level between 0 and 1, and every layer a binomial number of steps up from 2 bits. The probability
of a granularity or a symmetry is drawn per network too. The training continues from its checkpoint
in FOLDER, and each measured subnet is a line there; start a killed run again with the same command.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.fidelity import BATCH, IMAGE, calibration, images
from benchmarks.kept_training import KeptTraining
from nas.run.predictor_bench import Networks
from predictors.calibrated import Calibrated
from predictors.cqap import cqap
from predictors.ensemble import Ensemble
from predictors.gaussian import gaussian
from predictors.judging import Judgement, drawn, judged, ranking
from predictors.predictor import Predictor
from search_spaces.costs import bitops, compile_cost
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes
from supernets.extract import extract
from supernets.supernet import Supernet
from supernets.training.schedule import TrainingSettings

DATA, TESTED, MEASURED, JUDGED = "report", 1_000, 2_500, 1_000
BITS = (2, 3, 4, 5, 6, 7, 8)


def space() -> SearchSpace:
    """The space of policies for the fixed network."""
    policy = Policy(
        weight_bits=BITS,
        activation_bits=BITS,
        weight_granularities=(PerTensor(), PerChannel()),
        weight_symmetries=(True, False),
        activation_symmetries=(True, False),
        fineness="layer",
    )
    return residual(
        **IMAGE, widths=((8,), (8,), (16,), (32,)), depths=((1,), (1,), (1,)), policy=policy
    )


def sampled(space: SearchSpace) -> IntArray:
    """2,500 different policies whose mean bits are about uniform, `(2500, choices)`."""
    rng, count = np.random.default_rng(0), MEASURED
    levels = rng.uniform(size=(2 * count, 1))
    conditions = rng.uniform(size=(2 * count, 3))
    rows = np.empty((2 * count, len(space.choices)), dtype=np.int64)
    for column, made in enumerate(space.choices):
        if made.name.endswith(".bits"):
            rows[:, column] = rng.binomial(len(made.options) - 1, levels[:, 0])
            continue
        kind = 2 if "activation" in made.name else int(made.name.endswith(".symmetric"))
        rows[:, column] = rng.uniform(size=2 * count) < conditions[:, kind]
    rows = space.canonical_array(rows)
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)[:count]]


@torch.no_grad()
def measured(folder: Path, count: int, epochs: Sequence[int]) -> Networks:
    """`count` policies with their cross-entropies; those that `folder` lacks are measured."""
    folder.mkdir(parents=True, exist_ok=True)
    floats, quantized = epochs
    settings = TrainingSettings(float_epochs=floats, quantized_epochs=quantized)
    training = KeptTraining(space(), settings, DATA, folder)
    rows = sampled(training.space)[:count]
    path = folder / "subnets.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    known = {tuple(genotype): loss for genotype, loss in map(json.loads, lines)}
    missing = [genotype for genotype in as_genotypes(rows) if genotype not in known]
    if missing:
        with torch.enable_grad():
            supernet = training.trained()
        with path.open("a", buffering=1) as file:
            for genotype in missing:
                known[genotype] = cross_entropy(supernet, genotype)
                file.write(json.dumps([genotype, known[genotype]]) + "\n")
    losses = np.array([known[genotype] for genotype in as_genotypes(rows)])
    costs = {"BitOPs": compile_cost(training.space, bitops)(rows)}
    return Networks(training.space, rows, losses, costs)


def cross_entropy(supernet: Supernet, genotype: Genotype) -> float:
    """The cross-entropy of an extracted subnet, calibrated with one batch of images."""
    test = images(DATA)[1]
    shown, truth = test.inputs["image"][:TESTED], test.targets[:TESTED]
    module = extract(supernet, genotype, calibration(DATA)[:1]).module.eval()
    found = torch.cat([module(part) for part in shown.split(BATCH)])
    return float(torch.nn.functional.cross_entropy(found, truth))


def process_and_cqap(space: SearchSpace) -> Ensemble:
    """The process and CQAP, weighted by cross-validation."""
    return Ensemble([gaussian(space), cqap(space)])


PREDICTORS: dict[str, Callable[[SearchSpace], Predictor]] = {
    "gaussian": gaussian,
    "cqap": cqap,
    "gaussian and cqap": process_and_cqap,
}


def main(arguments: Sequence[str]) -> None:
    """Train and measure what is missing, judge predictors, and print the table."""
    parser = argparse.ArgumentParser(prog="conditions")
    parser.add_argument("--count", type=int, default=MEASURED)
    parser.add_argument("--epochs", type=int, nargs=2, default=[6, 6])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/conditions"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    networks = measured(options.run, options.count, options.epochs)
    space, rows, losses = networks.space, networks.rows, networks.losses
    cost = networks.costs["BitOPs"]
    found = ranking(cost, losses, cost=cost)
    print("| predictor | learned | tau | tau in bins |\n| --- | --: | --: | --: |")
    print(f"| *BitOPs* | | {found.tau:.3f} | {found.within:.3f} |")
    with threadpool_limits(1):
        for size in options.sizes:
            for name, make in PREDICTORS.items():
                each: list[Judgement] = []
                for seed in range(options.first_seed, options.first_seed + options.seeds):
                    places = drawn(len(rows), count=size, seed=seed, judged=JUDGED)
                    predictor = Calibrated(space, make(space))
                    each.append(judged(predictor, rows, losses, places=places, cost=cost))
                mean = Judgement.mean(each)
                print(f"| {name} | {size} | {mean.tau:.3f} | {mean.within:.3f} |", flush=True)
