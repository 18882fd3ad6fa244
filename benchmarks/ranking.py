"""Shared weights against training alone: the loss of accuracy, and the ranking of subnets.

    python -m benchmarks.ranking [--spaces residual mobilenet] [--lengths short long]
        [--supernet-seeds 0 1 2] [--variants default before] [--run FOLDER]

Subnets of a space of architectures and precisions, stratified by BitOPs, are trained alone with two
seeds each. A supernet of the space is trained for as many epochs as one subnet, with every seed and
every compared setting. All networks are deployed and tested on the same images. The gap is the
accuracy with shared weights minus that of the subnet trained alone, the mean over the subnets and
the worst of them. Kendall's tau compares the order of the subnets with that of their mean accuracy
when trained alone; the subnets are ordered by accuracy with shared weights, and by cross-entropy.
Two limits are given: the tau between the two seeds of training alone, which noise does not allow to
exceed, and the tau of BitOPs, which a supernet must exceed, above all within a bin of about equal
BitOPs.

The images and the subnets are those of `benchmarks.fidelity`. Every training continues from its
checkpoint in FOLDER, and every result is kept there; start a killed run again with the same
command.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.fidelity import BINS, IMAGE, LENGTHS, FloatArray, residual_space, stratified
from benchmarks.kept_training import KeptTraining
from predictors.rank import kendall_tau, tau_within_budgets
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.policy import Policy
from search_spaces.space import Genotype, SearchSpace
from supernets.training.schedule import TrainingSettings

ALONE_SEEDS = (0, 1)
# A single network: no other subnet learns beside the network, whatever the defaults are.
ALONE: dict[str, Any] = {"largest_first": 0.0, "random_subnets": 0, "distillation": 0.0}
DATA, TESTED = "report", 10_000
# The compared settings that differ from the defaults; `before` has all subnets from the first step.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "before": {"largest_first": 0.0, "random_subnets": 2},
}


def spaces() -> dict[str, SearchSpace]:
    """The spaces, by name; both choose architecture and bits of every stage."""
    wide = Policy(weight_bits=(3, 4, 8), activation_bits=(4, 8), fineness="stage")
    return {
        "residual": residual_space(),
        "mobilenet": mobilenet(
            **IMAGE,
            stages=(Stage(12, 2), Stage(24, 1), Stage(40, 2)),
            depths=(1, 2),
            kernels=(3, 5),
            expansions=(2, 4),
            stem=8,
            stem_stride=1,
            head=64,
            policy=wide,
        ),
    }


def training(
    space: SearchSpace, length: str, seed: int, folder: Path, **changed: Any
) -> KeptTraining:
    """A training with the engine's default settings, but for the number of epochs and `changed`."""
    floats, quantized = LENGTHS[length]
    epochs = {"float_epochs": floats, "quantized_epochs": quantized}
    return KeptTraining(space, TrainingSettings(**epochs, seed=seed, **changed), DATA, folder)


def only(space: SearchSpace, genotype: Genotype) -> SearchSpace:
    """The space with only the network of `genotype`."""
    picks = dict(zip(space.column, genotype, strict=True))
    return space.restrict(lambda made, option: option == made.options[picks[made.name]])


def alone(space: SearchSpace, length: str, folder: Path) -> FloatArray:
    """The accuracy of every stratified subnet trained alone, in percent, `(seeds, n)`."""
    subnets, _ = stratified(space)

    def accuracy(subnet: Genotype, seed: int) -> float:
        network = only(space, subnet)
        kept = training(network, length, seed, folder, **ALONE)
        return float(kept.scores([network.largest], tested=TESTED)[0, 0])

    return np.array([[accuracy(subnet, seed) for subnet in subnets] for seed in ALONE_SEEDS])


def taus(scores: FloatArray, measured: FloatArray, cost: FloatArray) -> str:
    """Two cells of the table: tau over all subnets, and the mean of tau within bins."""
    within = tau_within_budgets(scores, measured, cost, bins=BINS)
    return f"{kendall_tau(scores, measured):.2f} | {np.nanmean(within):.2f}"


def rows(
    name: str, length: str, folder: Path, *, seeds: list[int], variants: list[str]
) -> Iterator[str]:
    """The lines of the table for one space and one length of training."""
    space = spaces()[name]
    subnets, cost = stratified(space)
    here = f"{name} | {'+'.join(map(str, LENGTHS[length]))}"
    by_seed = alone(space, length, folder)
    reference = by_seed.mean(0)
    spread = f"{reference.mean():.1f} ({reference.min():.1f} to {reference.max():.1f})"
    between = taus(by_seed[0], by_seed[1], cost)
    yield f"| {here} | alone, one seed against the other | {spread} | 0 | | {between} | | |"
    yield f"| {here} | BitOPs alone | | | | {taus(cost, reference, cost)} | | |"
    for label in variants:
        for seed in seeds:
            kept = training(space, length, seed, folder, **VARIANTS[label])
            shared, loss = kept.scores(subnets, tested=TESTED).T
            gap = shared - reference
            spread = f"{shared.mean():.1f} ({shared.min():.1f} to {shared.max():.1f})"
            yield (
                f"| {here} | supernet, {label}, seed {seed} | {spread} | {gap.mean():+.1f} | "
                f"{gap.min():+.1f} | {taus(shared, reference, cost)} | "
                f"{taus(-loss, reference, cost)} |"
            )


def main() -> None:
    """Do the missing trainings and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spaces", nargs="+", choices=spaces(), default=list(spaces()))
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--supernet-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--run", type=Path, default=Path("runs/ranking"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    taken = ("tau", "tau within bins", "tau by loss", "by loss within bins")
    columns = ("space", "epochs", "score", "accuracy, %", "gap, points", "worst", *taken)
    print(f"| {' | '.join(columns)} |")
    print(f"| {' | '.join(['---'] * len(columns))} |")
    for space in options.spaces:
        for length in options.lengths:
            lines = rows(
                space,
                length,
                options.run,
                seeds=options.supernet_seeds,
                variants=options.variants,
            )
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
