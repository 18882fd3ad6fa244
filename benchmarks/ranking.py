"""Shared weights against training alone: the loss of accuracy, and the ranking of subnets.

    python -m benchmarks.ranking [--spaces residual mobilenet] [--lengths short long]
        [--supernet-seeds 2] [--run FOLDER]

Subnets of a space of architectures and precisions, stratified by BitOPs, are trained alone with two
seeds each. A supernet of the space is trained for as many epochs as one subnet, with every seed and
every compared share of labels. All networks are deployed and tested on the same images. The gap is
the accuracy of a subnet trained alone minus that with shared weights. Kendall's tau compares the
order of the subnets with that of their mean accuracy when trained alone. Two limits are given: the
tau between the two seeds of training alone, which noise does not allow to exceed, and the tau of
BitOPs, which a supernet must exceed, above all within a bin of about equal BitOPs.

The images and the subnets are those of `benchmarks.fidelity`. Every training continues from its
checkpoint in FOLDER, and every result is kept there; start a killed run again with the same
command.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.fidelity import (
    BINS,
    IMAGE,
    LENGTHS,
    FloatArray,
    accuracy,
    images,
    residual_space,
    stratified,
)
from nas.durable import write_atomic
from nas.tasks.criteria import Classification
from predictors.rank import kendall_tau, tau_within_budgets
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.policy import Policy
from search_spaces.space import Genotype, SearchSpace
from supernets.checkpoint import load, save
from supernets.supernet import Supernet
from supernets.training.schedule import TrainingSettings
from supernets.training.train import train

ALONE_SEEDS = (0, 1)
DATA = "report"
DISTILLATION = {"KL alone": 1.0, "half KL, half labels": 0.5}


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


@dataclass(frozen=True)
class Training:
    """One training: of the supernet if `subnet` is None, else of that subnet alone."""

    space: str
    length: str
    distillation: float
    seed: int
    subnet: Genotype | None = None

    @property
    def name(self) -> str:
        """The name of the training's files."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:16]

    def settings(self) -> TrainingSettings:
        """The default training settings of the engine, with this number of epochs."""
        floats, quantized = LENGTHS[self.length]
        return TrainingSettings(
            float_epochs=floats,
            quantized_epochs=quantized,
            distillation=self.distillation,
            seed=self.seed,
        )

    def trained(self, folder: Path) -> Supernet:
        """The trained weights; from `folder` if they are there."""
        space = spaces()[self.space]
        space = space if self.subnet is None else only(space, self.subnet)
        path = folder / f"{self.name}.safetensors"
        if path.exists():
            return load(space, path)
        supernet = Supernet(space, seed=self.seed)
        state = folder / f"{self.name}.state"
        learned, _ = images(DATA)
        train(supernet, learned, self.settings(), criterion=Classification(), state_path=state)
        save(supernet, path)
        state.unlink()
        return supernet

    def accuracies(self, folder: Path, subnets: list[Genotype]) -> FloatArray:
        """The test accuracy of deployed subnets in percent, `(n,)`; measured once and kept."""
        path = folder / f"{self.name}.json"
        if not path.exists():
            supernet = self.trained(folder)
            found = [accuracy(supernet, genotype, data=DATA) for genotype in subnets]
            write_atomic(path, json.dumps({"training": astuple(self), "accuracy": found}).encode())
        return np.array(json.loads(path.read_text())["accuracy"])


def only(space: SearchSpace, genotype: Genotype) -> SearchSpace:
    """The space with only the network of `genotype`."""
    picks = dict(zip(space.column, genotype, strict=True))
    return space.restrict(lambda made, option: option == made.options[picks[made.name]])


def alone(space: str, length: str, folder: Path) -> FloatArray:
    """The accuracy of every stratified subnet trained alone, in percent, `(seeds, n)`."""
    subnets, _ = stratified(spaces()[space])
    return np.array(
        [
            [
                Training(space, length, 0.0, seed, subnet).accuracies(folder, [()])[0]
                for subnet in subnets
            ]
            for seed in ALONE_SEEDS
        ]
    )


def taus(scores: FloatArray, measured: FloatArray, cost: FloatArray) -> str:
    """Two cells of the table: tau over all subnets, and the mean of tau within bins."""
    within = tau_within_budgets(scores, measured, cost, bins=BINS)
    return f"{kendall_tau(scores, measured):.2f} | {np.nanmean(within):.2f}"


def rows(space: str, length: str, seeds: int, folder: Path) -> Iterator[str]:
    """The lines of the table for one space and one length of training."""
    subnets, cost = stratified(spaces()[space])
    here = f"{space} | {'+'.join(map(str, LENGTHS[length]))}"
    by_seed = alone(space, length, folder)
    reference = by_seed.mean(0)
    low, high = np.percentile(reference, [0, 100])
    spread = f"{reference.mean():.1f} ({low:.1f} to {high:.1f})"
    yield f"| {here} | alone, one seed against the other | {spread} | 0 | {taus(*by_seed, cost)} |"
    yield f"| {here} | BitOPs alone | | | {taus(cost, reference, cost)} |"
    for label, distillation in DISTILLATION.items():
        for seed in range(seeds):
            training = Training(space, length, distillation, seed)
            shared = training.accuracies(folder, subnets)
            gap = f"{(shared - reference).mean():+.1f}"
            spread = f"{shared.mean():.1f} ({shared.min():.1f} to {shared.max():.1f})"
            yield (
                f"| {here} | supernet, {label}, seed {seed} | {spread} | {gap} | "
                f"{taus(shared, reference, cost)} |"
            )


def main() -> None:
    """Do the missing trainings and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spaces", nargs="+", choices=spaces(), default=list(spaces()))
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--supernet-seeds", type=int, default=2)
    parser.add_argument("--run", type=Path, default=Path("runs/ranking"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    print("| space | epochs | score | accuracy, % | gap, points | tau | tau within bins |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for space in options.spaces:
        for length in options.lengths:
            for row in rows(space, length, options.supernet_seeds, options.run):
                print(row, flush=True)


if __name__ == "__main__":
    main()
