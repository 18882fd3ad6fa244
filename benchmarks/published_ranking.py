"""The ranking of shared weights against published tables of networks that were trained alone.

    python -m benchmarks.published_ranking [--tables nbmacro channel_resnet]
        [--samplers sandwich complexity] [--seeds 0 1] [--data report] [--run FOLDER]

NAS-Bench-Macro and the ResNet space of Channel-Bench-Macro (`benchmarks.published_spaces`) have the
CIFAR-10 accuracy of every network, trained three times for 50 epochs or more at full size. Here, a
supernet of a smaller copy of the space ranks a sample of these networks, the same number in each of
20 bins of about equal operations. Cut are the images, from 50,000 of 32 x 32 to 4,000 of 16 x 16
(those of `benchmarks.fidelity`), the channels, to a quarter and an eighth (`CUTS`), and the epochs.
All training settings but the epochs and the sampler are the engine's defaults, in full precision.

A supernet scores a network by the accuracy or the loss on test images after extraction and
calibration. Kendall's tau compares with the mean of the three published trainings. Two limits are
given: the tau of one published training and the mean of the other two, which is what noise allows,
and that of the published operations. The regret is the published accuracy that the best-scored
network of the sample lacks to the best network of the sample.

Networks of NAS-Bench-Macro that differ only in which layers of a stage are left out are equal; the
sample has only the form with the blocks first. All trainings and results are kept in FOLDER; start
a killed run again with the same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fidelity import SHEETS, SIZE, FloatArray
from benchmarks.kept_training import KeptTraining
from benchmarks.published_spaces import STAGES, channel_bench_resnet, nasbench_macro
from benchmarks.tables import ROOT
from nas.tabular.columns import read_files
from predictors.rank import kendall_tau, tau_within_budgets
from search_spaces.space import Genotype, IntArray, as_genotypes
from supernets.training.schedule import TrainingSettings

BINS, PER_BIN = 20, 10
EPOCHS, TESTED = 6, 1000
SAMPLERS = ("sandwich", "complexity")
RUNS = ("acc0", "acc1", "acc2")
# The smaller copies. At full size, the widths are 32 and 256, and the last layer of the first 1280.
CUTS = {
    "nbmacro": nasbench_macro(size=SIZE, width=8, last=320),
    "channel_resnet": channel_bench_resnet(size=SIZE, width=32),
}
_FILES = {
    "nbmacro": ("nasbench_macro/nasbench_macro_cifar10.csv.gz", 0),
    "channel_resnet": ("channel_bench_macro/resnet_cifar10.csv.gz", 1),
}


@dataclass(frozen=True, eq=False)
class Sample:
    """Networks of a table, equally many per bin of operations, in the order of operations.

    Attributes:
        rows: The genotypes, `(n, choices)`.
        accuracy: The accuracy of each published training in percent, `(3, n)`.
        operations: The published operations, `(n,)`.
    """

    rows: IntArray
    accuracy: FloatArray
    operations: FloatArray

    @cached_property
    def mean(self) -> FloatArray:
        """The mean accuracy over the published trainings, `(n,)`."""
        return self.accuracy.mean(axis=0)

    @property
    def networks(self) -> list[Genotype]:
        """The genotypes as tuples."""
        return as_genotypes(self.rows)

    def judged(self, score: FloatArray) -> str:
        """Three cells of the table: tau, the mean of tau within bins, and the regret in points."""
        within = np.nanmean(tau_within_budgets(score, self.mean, self.operations, bins=BINS))
        regret = self.mean.max() - self.mean[score.argmax()]
        return f"{kendall_tau(score, self.mean):.2f} | {within:.2f} | {regret:.2f}"

    def ceiling(self) -> str:
        """The same cells for one published training against the mean of the others, averaged."""
        taus: list[tuple[float, float, float]] = []
        for run, score in enumerate(self.accuracy):
            others = np.delete(self.accuracy, run, axis=0).mean(axis=0)
            within = np.nanmean(tau_within_budgets(score, others, self.operations, bins=BINS))
            regret = others.max() - others[score.argmax()]
            taus.append((kendall_tau(score, others), float(within), float(regret)))
        return " | ".join(f"{each:.2f}" for each in np.mean(taus, axis=0))


def sample(table: str) -> Sample:
    """The sample of a table; the same for every call."""
    path, first = _FILES[table]
    columns = read_files([ROOT / path], None)
    rows = np.array([[int(digit) for digit in str(arch)] for arch in columns["arch"]]) - first
    accuracy = np.array([columns[run] for run in RUNS], dtype=np.float64)
    operations = np.array(columns["flops"], dtype=np.float64)
    if table == "nbmacro":
        distinct = blocks_first(rows)
        rows, accuracy, operations = rows[distinct], accuracy[:, distinct], operations[distinct]
    rng = np.random.default_rng(0)
    order = np.argsort(operations, kind="stable")
    bins = np.array_split(order, BINS)
    picked = np.concatenate([rng.choice(each, PER_BIN, replace=False) for each in bins])
    picked = picked[np.argsort(operations[picked], kind="stable")]
    return Sample(rows[picked], accuracy[:, picked], operations[picked])


def blocks_first(rows: IntArray) -> NDArray[np.bool_]:
    """Whether no layer behind the first of its stage is left out before a block, `(n,)`.

    Args:
        rows: Genotypes of NAS-Bench-Macro, `(n, 8)`.
    """
    found = np.ones(len(rows), dtype=np.bool_)
    start = 0
    for depth in STAGES:
        there = rows[:, start + 1 : start + depth] > 0
        found &= (there[:, :-1] >= there[:, 1:]).all(axis=1)
        start += depth
    return found


def lines(table: str, options: argparse.Namespace) -> Iterator[str]:
    """The rows of the printed table for one published table."""
    known = sample(table)
    low, high = np.percentile(known.mean, [0, 100])
    spread = f"{known.mean.mean():.1f} ({low:.1f} to {high:.1f})"
    yield f"| {table} | one published training against the others | {spread} | {known.ceiling()} |"
    yield f"| {table} | operations alone | | {known.judged(known.operations)} |"
    for sampler in options.samplers:
        for seed in options.seeds:
            settings = TrainingSettings(
                float_epochs=EPOCHS, quantized_epochs=0, sampler=sampler, seed=seed
            )
            kept = KeptTraining(CUTS[table], settings, options.data, options.run)
            accuracy, loss = kept.scores(known.networks, tested=TESTED).T
            spread = f"{accuracy.mean():.1f} ({accuracy.min():.1f} to {accuracy.max():.1f})"
            here = f"{sampler}, seed {seed}"
            yield f"| {table} | {here}: accuracy | {spread} | {known.judged(accuracy)} |"
            yield f"| {table} | {here}: loss | | {known.judged(-loss)} |"


def main() -> None:
    """Do the missing trainings and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="+", choices=CUTS, default=list(CUTS))
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--data", choices=SHEETS, default="report")
    parser.add_argument("--run", type=Path, default=Path("runs/published-ranking"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    print("| table | score | accuracy, % | tau | tau within bins | regret, points |")
    print("| --- | --- | --- | --- | --- | --- |")
    for table in options.tables:
        for line in lines(table, options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
