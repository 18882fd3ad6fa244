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

The images are those of CIFAR-10, from the folder of `ELASTIC_NAS_TABLES`, averaged to 16 x 16.
Every training continues from its checkpoint in FOLDER, and every result is kept there; start a
killed run again with the same command.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cifar10_npz import labels, tiles
from benchmarks.tables import ROOT
from nas.durable import write_atomic
from nas.tasks.augment import Augment
from nas.tasks.criteria import Classification
from nas.tasks.images import ImageAugmentation
from nas.tasks.task import Split, TrainSplit
from predictors.rank import kendall_tau, tau_within_budgets
from search_spaces.costs import bitops, compile_cost
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from supernets.checkpoint import load, save
from supernets.deploy import deploy
from supernets.extract import extract
from supernets.supernet import Supernet
from supernets.training.schedule import TrainingSettings
from supernets.training.train import train

FloatArray = NDArray[np.float64]

SIZE, TRAINING_IMAGES, CALIBRATION_IMAGES, BATCH = 16, 4000, 512, 500
BINS, SUBNETS, ALONE_SEEDS = 3, 24, (0, 1)
# The numbers of epochs in full precision and with quantization.
LENGTHS = {"short": (6, 4), "long": (24, 16)}
DISTILLATION = {"KL alone": 1.0, "half KL, half labels": 0.5}
# The positions of the bins, as quantiles of the BitOPs of random subnets, and their width.
QUANTILES, WIDTH, DRAWN = (0.1, 0.5, 0.9), 0.06, 4096


def spaces() -> dict[str, SearchSpace]:
    """The spaces, by name; both choose architecture and bits of every stage."""
    policy = Policy(weight_bits=(2, 3, 4, 8), activation_bits=(2, 3, 4, 8), fineness="stage")
    wide = Policy(weight_bits=(3, 4, 8), activation_bits=(4, 8), fineness="stage")
    image = {"inputs": (Input("image", (3, SIZE, SIZE)),), "output": (10,)}
    return {
        "residual": residual(
            **image,
            widths=[(8,), (4, 8, 12), (8, 16, 32), (16, 32, 64)],
            depths=[(1,), (1, 2), (1, 2)],
            policy=policy,
        ),
        "mobilenet": mobilenet(
            **image,
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


@cache
def images() -> tuple[TrainSplit, Split]:
    """Two sheets for training and all five for testing, `(n, 3, 16, 16)`, normalised."""
    known = labels(ROOT / "cifar10")

    def split(names: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        sheets = [tiles(ROOT / "cifar10" / f"{name}.webp") for name in names]
        pixels = torch.from_numpy(np.concatenate(sheets)).permute(0, 3, 1, 2).float()
        found = torch.from_numpy(np.concatenate([known[name] for name in names]).astype(np.int64))
        return torch.nn.functional.avg_pool2d(pixels, 32 // SIZE), found

    x, y = (part[:TRAINING_IMAGES] for part in split(["train_00", "train_01"]))
    test_x, test_y = split([f"test_{n:02}" for n in range(5)])
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    augment = ImageAugmentation(Augment(shift=2, flip=True), (-mean / std).reshape(-1))
    learned = TrainSplit({"image": (x - mean) / std}, y, augment)
    return learned, Split({"image": (test_x - mean) / std}, test_y)


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
        train(supernet, images()[0], self.settings(), criterion=Classification(), state_path=state)
        save(supernet, path)
        state.unlink()
        return supernet

    def accuracies(self, folder: Path, subnets: list[Genotype]) -> FloatArray:
        """The test accuracy of deployed subnets in percent, `(n,)`; measured once and kept."""
        path = folder / f"{self.name}.json"
        if not path.exists():
            supernet = self.trained(folder)
            found = [accuracy(supernet, genotype) for genotype in subnets]
            write_atomic(path, json.dumps({"training": astuple(self), "accuracy": found}).encode())
        return np.array(json.loads(path.read_text())["accuracy"])


def only(space: SearchSpace, genotype: Genotype) -> SearchSpace:
    """The space with only the network of `genotype`."""
    picks = dict(zip(space.column, genotype, strict=True))
    return space.restrict(lambda made, option: option == made.options[picks[made.name]])


def accuracy(supernet: Supernet, genotype: Genotype) -> float:
    """The test accuracy of a deployed subnet in percent."""
    learned, test = images()
    batches = learned.inputs["image"][:CALIBRATION_IMAGES].split(128)
    module = deploy(extract(supernet, genotype, batches)).module()
    with torch.no_grad():
        right = sum(int((module(**x).argmax(1) == y).sum()) for x, y in test.batches(BATCH))
    return 100 * right / len(test)


def stratified(space: SearchSpace) -> tuple[list[Genotype], FloatArray]:
    """Random subnets of `space`, equally many per narrow bin of BitOPs, and their BitOPs."""
    rng = np.random.default_rng(0)
    drawn = np.unique(space.sample_array(rng, DRAWN), axis=0)
    cost = compile_cost(space, bitops)(drawn)
    picked: list[int] = []
    for quantile in QUANTILES:
        low, high = np.quantile(cost, [quantile - WIDTH / 2, quantile + WIDTH / 2])
        inside = np.flatnonzero((cost >= low) & (cost <= high))
        picked += rng.choice(inside, SUBNETS // BINS, replace=False).tolist()
    return as_genotypes(drawn[picked]), cost[picked]


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
