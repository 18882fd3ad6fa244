"""Images, subnets and scores that the benchmarks of shared weights have in common.

The images are those of CIFAR-10, from the folder of `ELASTIC_NAS_TABLES`, averaged to 16 x 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.cifar10_npz import labels, tiles
from benchmarks.tables import ROOT
from nas.tasks.augment import Augment
from nas.tasks.images import ImageAugmentation
from nas.tasks.task import Split, TrainSplit
from search_spaces.costs import bitops, compile_cost
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from supernets.deploy import deploy
from supernets.extract import extract
from supernets.supernet import Supernet

FloatArray = NDArray[np.float64]

SIZE, CALIBRATION_IMAGES, BATCH = 16, 512, 500
IMAGE = {"inputs": (Input("image", (3, SIZE, SIZE)),), "output": (10,)}
# The numbers of epochs in full precision and with quantization.
LENGTHS = {"short": (6, 4), "long": (24, 16)}
# The sheets for training and for testing: settings are chosen on other images than are reported.
SHEETS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "report": (("train_00", "train_01"), tuple(f"test_{n:02}" for n in range(5))),
        "report-10000": (
            tuple(f"train_{n:02}" for n in range(5)),
            tuple(f"test_{n:02}" for n in range(5)),
        ),
        "selection": (("train_02", "train_03"), tuple(f"train_{n}" for n in range(20, 25))),
    }
)
BINS, SUBNETS = 3, 24
# The positions of the bins, as quantiles of the BitOPs of random subnets, and their width.
_QUANTILES, _WIDTH, _DRAWN = (0.1, 0.5, 0.9), 0.06, 4096


def residual_space() -> SearchSpace:
    """A space of residual networks that chooses architecture and bits of every stage."""
    return residual(
        **IMAGE,
        widths=((8,), (4, 8, 12), (8, 16, 32), (16, 32, 64)),
        depths=((1,), (1, 2), (1, 2)),
        policy=Policy(weight_bits=(2, 3, 4, 8), activation_bits=(2, 3, 4, 8), fineness="stage"),
    )


@cache
def images(data: str) -> tuple[TrainSplit, Split]:
    """The images for training, 2,000 a sheet, and 10,000 for testing, `(n, 3, 16, 16)`, normalised.

    Args:
        data: One of `SHEETS`.
    """
    known = labels(ROOT / "cifar10")

    def split(names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        sheets = [tiles(ROOT / "cifar10" / f"{name}.webp") for name in names]
        pixels = torch.from_numpy(np.concatenate(sheets)).permute(0, 3, 1, 2).float()
        found = torch.from_numpy(np.concatenate([known[name] for name in names]).astype(np.int64))
        return torch.nn.functional.avg_pool2d(pixels, 32 // SIZE), found

    training, testing = SHEETS[data]
    x, y = split(training)
    test_x, test_y = split(testing)
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    augment = ImageAugmentation(Augment(shift=2, flip=True), (-mean / std).reshape(-1))
    learned = TrainSplit({"image": (x - mean) / std}, y, augment)
    return learned, Split({"image": (test_x - mean) / std}, test_y)


@cache
def calibration(data: str) -> list[Tensor]:
    """The first images of a training split in batches, augmented as in training."""
    learned, rng = images(data)[0], np.random.default_rng(0)
    rows = np.arange(CALIBRATION_IMAGES).reshape(-1, 128)
    return [learned.batch(part, rng)[0]["image"] for part in rows]


def accuracy(supernet: Supernet, genotype: Genotype, *, data: str) -> float:
    """The test accuracy of a deployed subnet in percent."""
    _, test = images(data)
    module = deploy(extract(supernet, genotype, calibration(data))).module()
    with torch.no_grad():
        right = sum(int((module(**x).argmax(1) == y).sum()) for x, y in test.batches(BATCH))
    return 100 * right / len(test)


def stratified(space: SearchSpace) -> tuple[list[Genotype], FloatArray]:
    """Random subnets of `space`, equally many per narrow bin of BitOPs, and their BitOPs."""
    rng = np.random.default_rng(0)
    drawn = np.unique(space.sample_array(rng, _DRAWN), axis=0)
    cost = compile_cost(space, bitops)(drawn)
    picked: list[int] = []
    for quantile in _QUANTILES:
        low, high = np.quantile(cost, [quantile - _WIDTH / 2, quantile + _WIDTH / 2])
        inside = np.flatnonzero((cost >= low) & (cost <= high))
        picked += rng.choice(inside, SUBNETS // BINS, replace=False).tolist()
    return as_genotypes(drawn[picked]), cost[picked]


def shown(values: FloatArray, *, signed: bool) -> str:
    """The mean of values over seeds, and its standard error from two seeds on."""
    text = f"{values.mean():+.2f}" if signed else f"{values.mean():.2f}"
    return f"{text} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}" if len(values) > 1 else text
