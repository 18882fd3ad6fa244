"""The fronts of one residual family at 4 bits, at 8 bits and in full precision.

    python -m benchmarks.uniform_fronts [--lengths short] [--alone short] [--seeds 0 1 2]
        [--data report] [--run FOLDER]

Abdolrashidi et al. 2021 ("Pareto-optimal quantized ResNet is mostly 4-bit") compare networks of a
family at equal cost, which is MACs x bits of the weight x bits of the input. Here, a supernet has
all widths and depths of a family, and one more choice for the whole network: 4 bits, 8 bits or full
precision for weights and inputs. At 4 bits, the first and the last layer, additions and poolings
have 8 bits, as in the paper; in full precision, nothing is quantized.

Networks that are spread evenly over the logarithm of MACs are extracted from the shared weights,
calibrated and tested at each precision. The front of a precision is the accuracy of its best
network at a cost or below; the best for one seed is chosen by the other seeds. The table has the
share of the logarithm of the cost where the front of 4 bits is strictly higher than that of another
precision, over two ranges: the overlap, which begins with the cheapest network of the other
precision and ends with the costliest of 4 bits, and all costs of the other precision, where the
front of 4 bits goes on flat behind its last network. Costs of full precision are given twice: with
32 bits per number, and with 16, as in the paper (bfloat16).

A few of the networks are also trained alone at each precision, to see whether the order of
precisions comes from sharing weights. The plot, docs/figures/uniform_fronts.svg, has the last
length.

The images are those of `benchmarks.fidelity`; 2,000 are tested. All trainings and results are kept
in FOLDER; start a killed run again with the same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.fidelity import IMAGE, SHEETS, FloatArray
from benchmarks.kept_training import KeptTraining
from benchmarks.ranking import only
from search_spaces.choice import choice, derived_as
from search_spaces.costs import bitops, compile_cost, macs
from search_spaces.formats import Int
from search_spaces.policy import LayerPrecision, Policy
from search_spaces.quant import PerChannel, PerTensor, Quant
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from supernets.training.schedule import TrainingSettings

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "uniform_fronts.svg"
# The numbers of epochs in full precision and with quantization.
LENGTHS = {"short": (4, 4), "long": (12, 8)}
TESTED = 2000
LEVELS, PER_LEVEL, ALONE, DRAWN = 20, 3, 4, 4096
BITS, EDGE_BITS = "bits", 8
OPTIONS = (4, 8, None)
LABELS = ("4 bits", "8 bits", "full precision")
# The precision of each cost: full precision has two costs.
PLACES = (0, 1, 2, 2)
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c")


@derived_as("benchmarks.uniform_fronts:weight_at")  # also where this is the main module
def weight_at(bits: int | None) -> Quant | None:
    """The precision of weights: symmetric, one scale per channel; None for full precision."""
    return None if bits is None else Quant(Int(bits, symmetric=True), PerChannel())


@derived_as("benchmarks.uniform_fronts:input_at")  # also where this is the main module
def input_at(bits: int | None) -> Quant | None:
    """The precision of inputs: asymmetric, one scale per tensor; None for full precision."""
    return None if bits is None else Quant(Int(bits, symmetric=False), PerTensor())


@derived_as("benchmarks.uniform_fronts:edge_bits")  # also where this is the main module
def edge_bits(bits: int | None) -> int | None:
    """The bits of first and last layers in a network of `bits`."""
    return None if bits is None else EDGE_BITS


class OnePrecision(Policy):
    """A policy with one decision, among `OPTIONS`, for the whole network."""

    def layer(self, stage: str, block: str, layer: str) -> LayerPrecision:
        """The precision of one inner layer."""
        bits = choice(BITS, OPTIONS)
        return LayerPrecision(weight=weight_at(bits), activation=input_at(bits))

    def edge(self) -> LayerPrecision:
        """The precision of first and last layers."""
        bits = edge_bits(choice(BITS, OPTIONS))
        return LayerPrecision(weight=weight_at(bits), activation=input_at(bits))

    def tensor(self) -> Quant | None:
        """The precision of the inputs of additions and poolings."""
        return input_at(edge_bits(choice(BITS, OPTIONS)))


def family() -> SearchSpace:
    """The family: widths and depths of a residual network, and one precision."""
    return residual(
        **IMAGE,
        widths=((4, 8), (4, 8, 16), (4, 8, 16, 32), (8, 16, 32, 64)),
        depths=((1, 2), (1, 2), (1, 2)),
        policy=OnePrecision(),
    )


def at(space: SearchSpace, genotypes: Sequence[Genotype], option: int) -> list[Genotype]:
    """The genotypes with the precision `OPTIONS[option]`."""
    rows = np.array(genotypes)
    rows[:, space.column[BITS]] = option
    return as_genotypes(rows)


def spread_evenly(space: SearchSpace) -> list[Genotype]:
    """Networks of the first precision near evenly spaced logarithms of MACs, ascending.

    The cheapest and the costliest network of the family are among them.
    """
    rng = np.random.default_rng(0)
    rows = space.sample_array(rng, DRAWN)
    rows[:, space.column[BITS]] = 0
    rows = np.unique(np.vstack([rows, at(space, [space.smallest, space.largest], 0)]), axis=0)
    size = np.log(compile_cost(space, macs)(rows))
    picked = [int(size.argmin()), int(size.argmax())]
    for level in np.linspace(size.min(), size.max(), LEVELS):
        left = np.setdiff1d(np.arange(len(rows)), picked)
        nearest = left[np.argsort(abs(size[left] - level), kind="stable")[: 4 * PER_LEVEL]]
        picked += rng.choice(nearest, PER_LEVEL, replace=False).tolist()
    return as_genotypes(rows[sorted(picked, key=lambda place: size[place])])


def costs(space: SearchSpace, networks: Sequence[Genotype]) -> dict[str, FloatArray]:
    """The BitOPs of every network at every precision, `(n,)`, by label.

    Those of full precision stand there twice, with 32 and with 16 bits per number.
    """
    cost = compile_cost(space, bitops)
    four, eight, full = (cost(np.array(at(space, networks, o))) for o in range(len(OPTIONS)))
    return {
        LABELS[0]: four,
        LABELS[1]: eight,
        f"{LABELS[2]}, 16 bits": full / 4,
        f"{LABELS[2]}, 32 bits": full,
    }


def front(cost: FloatArray, accuracy: FloatArray, limits: FloatArray) -> FloatArray:
    """The accuracy of the best network at a cost of at most each of `limits`, `(seeds, m)`.

    The best for a seed is that with the highest mean accuracy of the other seeds, so that luck in
    the choice among many networks adds nothing; with a single seed, it is the best of this seed.

    Args:
        cost: The cost of each network, `(n,)`.
        accuracy: The accuracy of each network with each seed, `(seeds, n)`.
        limits: Limits, `(m,)`, none below the cheapest network.
    """
    seeds = len(accuracy)
    judged = accuracy if seeds == 1 else (accuracy.sum(axis=0) - accuracy) / (seeds - 1)
    best = np.where(cost <= limits[:, None], judged[:, None], -np.inf).argmax(axis=2)
    return np.take_along_axis(accuracy, best, axis=1)


@dataclass(frozen=True)
class Lead:
    """The comparison of two fronts over a range of costs, in shares of its logarithm.

    Attributes:
        share: The share where the mean over seeds is strictly higher, 0 to 1.
        by_seed: The same for each seed.
        points: The mean difference in accuracy over the range and the seeds.
    """

    share: float
    by_seed: tuple[float, ...]
    points: float


def lead(
    mine: tuple[FloatArray, FloatArray],
    other: tuple[FloatArray, FloatArray],
    ends: tuple[float, float],
) -> Lead:
    """The lead of the front of `mine`.

    Args:
        mine: Costs `(n,)` and accuracies `(seeds, n)` of the networks of one precision.
        other: The same of the other precision.
        ends: The cheapest and the costliest cost of the range.
    """
    low, high = ends
    inside = np.unique(np.concatenate([mine[0], other[0], ends]))
    inside = inside[(inside >= low) & (inside <= high)]
    length = np.diff(np.log(inside)) / np.log(high / low)
    apart = front(*mine, inside[:-1]) - front(*other, inside[:-1])
    ahead = ((apart > 0) * length).sum(axis=1)
    share = length[apart.mean(axis=0) > 0].sum()
    return Lead(float(share), tuple(ahead.tolist()), float((apart.mean(axis=0) * length).sum()))


def compared(cost: Mapping[str, FloatArray], accuracy: FloatArray) -> Iterator[str]:
    """The rows of the table: 4 bits against each other precision, by range of costs.

    Args:
        cost: What `costs` returns.
        accuracy: The accuracy by seed, network and precision, `(seeds, n, 3)`.
    """
    four, *others = zip(cost.items(), PLACES, strict=True)
    mine = four[0][1]
    for (label, theirs), place in others:
        ranges = {"overlap": mine.max(), "all of its costs": theirs.max()}
        for name, high in ranges.items():
            low = float(theirs.min())
            if low >= high:
                yield f"| {label} | {name} | none | | | |"
                continue
            both = (mine, accuracy[..., 0]), (theirs, accuracy[..., place])
            found = lead(*both, (low, float(high)))
            seeds = ", ".join(f"{100 * share:.0f}" for share in found.by_seed)
            width = f"{low / 1e6:.1f} to {high / 1e6:.1f} M"
            shares = f"{100 * found.share:.0f} % | {seeds}"
            yield f"| {label} | {name} | {width} | {shares} | {found.points:+.1f} |"


def draw(cost: Mapping[str, FloatArray], accuracy: FloatArray) -> None:
    """Draw all networks and the front of every precision, as means over seeds.

    Args:
        cost: What `costs` returns.
        accuracy: The accuracy by seed, network and precision, `(seeds, n, 3)`.
    """
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "uniform_fronts"
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    right = max(each.max() for each in cost.values())
    for (label, each), place in zip(cost.items(), PLACES, strict=True):
        line = "--" if label.endswith("32 bits") else "-"
        limits = np.append(np.sort(each), right)
        best = front(each, accuracy[..., place], limits).mean(axis=0)
        axes.step(limits, best, line, where="post", color=COLOURS[place], label=label)
        mean = accuracy[..., place].mean(axis=0)
        axes.scatter(each, mean, s=6, color=COLOURS[place], alpha=0.35, linewidths=0)
    axes.set(xlabel="BitOPs of an image", ylabel="accuracy, %", xscale="log")
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(FIGURE, metadata={"Date": None})


@dataclass(frozen=True, eq=False)
class Trainings:
    """The trainings of the family and of its networks alone.

    Attributes:
        space: The family.
        length: One of `LENGTHS`.
        data: The images, one of `benchmarks.fidelity.SHEETS`.
        run: The folder that keeps trainings and results.
    """

    space: SearchSpace
    length: str
    data: str
    run: Path

    def _accuracy(self, space: SearchSpace, subnets: Sequence[Genotype], seed: int) -> FloatArray:
        """The accuracy of subnets of `space` after the default training with few epochs, `(n,)`."""
        floats, quantized = LENGTHS[self.length]
        settings = TrainingSettings(float_epochs=floats, quantized_epochs=quantized, seed=seed)
        kept = KeptTraining(space, settings, self.data, self.run)
        return kept.scores(subnets, tested=TESTED)[:, 0]

    def shared(self, networks: Sequence[Genotype], seed: int) -> FloatArray:
        """The accuracy of networks at every precision with shared weights, `(n, 3)`."""
        subnets = [g for option in range(len(OPTIONS)) for g in at(self.space, networks, option)]
        return self._accuracy(self.space, subnets, seed).reshape(len(OPTIONS), -1).T

    def alone(self, networks: Sequence[Genotype], seed: int) -> FloatArray:
        """The accuracy of networks that are each trained alone at each precision, `(n, 3)`."""
        subnets = [g for option in range(len(OPTIONS)) for g in at(self.space, networks, option)]
        found = [self._accuracy(only(self.space, g), [()], seed)[0] for g in subnets]
        return np.array(found).reshape(len(OPTIONS), -1).T


def show(title: str, rows: Iterator[str]) -> None:
    """Print a table of `compared`."""
    print(f"{title}:\n")
    print(
        "| 4 bits against | range of costs | BitOPs | 4 bits ahead | by seed | mean lead, points |"
    )
    print(f"|{' --- |' * 6}")
    print("\n".join(rows) + "\n")


def report(trainings: Trainings, seeds: Sequence[int], *, alone: bool) -> None:
    """Do the missing trainings of a length, print their tables and draw the plot."""
    space = trainings.space
    networks = spread_evenly(space)
    cost = costs(space, networks)
    found = np.array([trainings.shared(networks, seed) for seed in seeds])
    draw(cost, found)
    epochs = " + ".join(map(str, LENGTHS[trainings.length]))
    title = f"{epochs} epochs, shared weights, {len(networks)} networks a precision"
    show(title, compared(cost, found))
    places = np.linspace(0, len(networks) - 1, ALONE).round().astype(int)
    few = [networks[place] for place in places]
    size = compile_cost(space, macs)(np.array(few))
    kinds = {"shared": found.mean(axis=0)[places]}
    if alone:
        kinds["alone"] = trainings.alone(few, seeds[0])
        title = f"{epochs} epochs, trained alone, {ALONE} networks a precision"
        show(title, compared(costs(space, few), kinds["alone"][None]))
    print(f"| weights | MACs | {' | '.join(LABELS)} |\n|{' --- |' * 5}")
    for kind, accuracy in kinds.items():
        for count, row in zip(size, accuracy, strict=True):
            print(f"| {kind} | {count / 1e3:.0f} k | {' | '.join(f'{a:.1f}' for a in row)} |")
    mean = found.mean(axis=(0, 1))
    print(f"| shared | mean of {len(networks)} | {' | '.join(f'{a:.1f}' for a in mean)} |\n")


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=["short"])
    parser.add_argument("--alone", nargs="*", choices=LENGTHS, default=["short"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", choices=SHEETS, default="report")
    parser.add_argument("--run", type=Path, default=Path("runs/uniform-fronts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    for length in options.lengths:
        trainings = Trainings(family(), length, options.data, options.run)
        report(trainings, options.seeds, alone=length in options.alone)


if __name__ == "__main__":
    main()
