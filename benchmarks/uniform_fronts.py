"""The fronts of one residual family at 4 bits, at 8 bits and in full precision.

    python -m benchmarks.uniform_fronts [--seeds 0 1 2] [--data report] [--run FOLDER]

Abdolrashidi et al. 2021 ("Pareto-optimal quantized ResNet is mostly 4-bit") compare networks of a
family at equal cost, which is MACs x bits of the weight x bits of the input. Here, a supernet has
all widths and depths of a family, and one more choice for the whole network: 4 bits, 8 bits or full
precision for weights and inputs. At 4 bits, the first and the last layer, additions and poolings
have 8 bits, as in the paper; in full precision, nothing is quantized.

Networks that are spread evenly over the logarithm of MACs are extracted from the shared weights,
calibrated and tested at each precision. The front of a precision is the best accuracy at a cost or
below. A front is ahead where its accuracy is strictly higher than that of another; the share is
that of the logarithm of the cost, over two ranges: the overlap, which begins with the cheapest
network of the other precision and ends with the costliest of 4 bits, and all costs of the other
precision, where the front of 4 bits goes on flat behind its last network. Costs of full precision
are given twice: with 32 bits per number, and with 16, as in the paper (bfloat16).

A few of the networks are also trained alone at each precision, to see whether the order of
precisions comes from sharing weights. The plot goes to docs/figures/uniform_fronts.svg.

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
from search_spaces.choice import choice, derived
from search_spaces.costs import bitops, compile_cost, macs
from search_spaces.formats import Int
from search_spaces.policy import LayerPrecision, Policy
from search_spaces.quant import PerChannel, PerTensor, Quant
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from supernets.training.schedule import TrainingSettings

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "uniform_fronts.svg"
FLOAT_EPOCHS, QUANTIZED_EPOCHS, TESTED = 4, 4, 2000
LEVELS, PER_LEVEL, ALONE, DRAWN = 20, 3, 4, 4096
BITS, EDGE_BITS = "bits", 8
OPTIONS = (4, 8, None)
LABELS = ("4 bits", "8 bits", "full precision")
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c")


@derived
def weight_at(bits: int | None) -> Quant | None:
    """The precision of weights: symmetric, one scale per channel; None for full precision."""
    return None if bits is None else Quant(Int(bits, symmetric=True), PerChannel())


@derived
def input_at(bits: int | None) -> Quant | None:
    """The precision of inputs: asymmetric, one scale per tensor; None for full precision."""
    return None if bits is None else Quant(Int(bits, symmetric=False), PerTensor())


@derived
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


def best_within(cost: FloatArray, accuracy: FloatArray, limits: FloatArray) -> FloatArray:
    """The highest accuracy at a cost of at most each of `limits`; -inf where nothing is so cheap.

    Args:
        cost: The cost of each network, `(n,)`.
        accuracy: The accuracy of each network, `(n,)`.
        limits: Limits, `(m,)`; the result has this shape.
    """
    return np.where(cost <= limits[:, None], accuracy, -np.inf).max(axis=1)


def ahead(
    mine: tuple[FloatArray, FloatArray],
    other: tuple[FloatArray, FloatArray],
    ends: tuple[float, float],
) -> tuple[float, float]:
    """The share of a range of log cost where the front of `mine` is higher, and by how much.

    Args:
        mine: Costs and accuracies of the networks of one precision, `(n,)` each.
        other: The same of the other precision.
        ends: The cheapest and the costliest cost of the range.

    Returns:
        The share, 0 to 1, and the mean lead over the range in points; both NaN for an empty range.
    """
    low, high = ends
    if not low < high:
        return np.nan, np.nan
    inside = np.unique(np.concatenate([mine[0], other[0], [low, high]]))
    inside = inside[(inside >= low) & (inside <= high)]
    length = np.diff(np.log(inside)) / np.log(high / low)
    lead = best_within(*mine, inside[:-1]) - best_within(*other, inside[:-1])
    return float(length[lead > 0].sum()), float((length * lead).sum())


def compared(cost: Mapping[str, FloatArray], accuracy: Sequence[FloatArray]) -> Iterator[str]:
    """The rows of the table: 4 bits against each other precision, by range of costs.

    Args:
        cost: What `costs` returns.
        accuracy: The accuracy by network and precision, `(n, 3)`, of each seed.
    """
    precisions = (0, 1, 2, 2)
    four, *others = zip(cost.items(), precisions, strict=True)
    for (label, theirs), place in others:
        ranges = {
            "overlap": (theirs.min(), four[0][1].max()),
            "all of its costs": (theirs.min(), theirs.max()),
        }
        for name, ends in ranges.items():
            by_seed = [
                ahead((four[0][1], each[:, 0]), (theirs, each[:, place]), ends)
                for each in (np.mean(accuracy, axis=0), *accuracy)
            ]
            if np.isnan(by_seed).any():
                yield f"| {label} | {name} | none | | | |"
                continue
            (share, lead), *seeds = by_seed
            each = ", ".join(f"{100 * found:.0f}" for found, _ in seeds)
            width = f"{ends[0] / 1e6:.1f} to {ends[1] / 1e6:.1f} M"
            yield f"| {label} | {name} | {width} | {100 * share:.0f} % | {each} | {lead:+.1f} |"


def draw(cost: Mapping[str, FloatArray], accuracy: FloatArray) -> None:
    """Draw all networks and the front of every precision.

    Args:
        cost: What `costs` returns.
        accuracy: The mean accuracy over seeds, `(n, 3)`.
    """
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "uniform_fronts"
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    right = max(each.max() for each in cost.values())
    for (label, each), place in zip(cost.items(), (0, 1, 2, 2), strict=True):
        line = "--" if label.endswith("32 bits") else "-"
        limits = np.append(np.sort(each), right)
        best = best_within(each, accuracy[:, place], limits)
        axes.step(limits, best, line, where="post", color=COLOURS[place], label=label)
        axes.scatter(each, accuracy[:, place], s=6, color=COLOURS[place], alpha=0.35)
    axes.set(xlabel="BitOPs of an image", ylabel="accuracy, %", xscale="log")
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(FIGURE, metadata={"Date": None})


@dataclass(frozen=True, eq=False)
class Trainings:
    """The trainings of the family and of its networks alone.

    Attributes:
        space: The family.
        data: The images, one of `benchmarks.fidelity.SHEETS`.
        run: The folder that keeps trainings and results.
    """

    space: SearchSpace
    data: str
    run: Path

    def _accuracy(self, space: SearchSpace, subnets: Sequence[Genotype], seed: int) -> FloatArray:
        """The accuracy of subnets of `space` after the default training with few epochs, `(n,)`."""
        settings = TrainingSettings(
            float_epochs=FLOAT_EPOCHS, quantized_epochs=QUANTIZED_EPOCHS, seed=seed
        )
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


def report(trainings: Trainings, seeds: Sequence[int]) -> None:
    """Do the missing trainings, print the tables and draw the plot."""
    space = trainings.space
    networks = spread_evenly(space)
    cost = costs(space, networks)
    found = [trainings.shared(networks, seed) for seed in seeds]
    mean = np.mean(found, axis=0)
    draw(cost, mean)
    show(f"Shared weights, {len(networks)} networks a precision", compared(cost, found))
    places = np.linspace(0, len(networks) - 1, ALONE).round().astype(int)
    few = [networks[place] for place in places]
    alone = trainings.alone(few, seeds[0])
    show(f"Trained alone, {ALONE} networks a precision", compared(costs(space, few), [alone]))
    print(f"| MACs | {' | '.join(f'{name}: shared / alone' for name in LABELS)} |")
    print(f"|{' --- |' * 4}")
    size = compile_cost(space, macs)(np.array(few))
    for count, mine, theirs in zip(size, mean[places], alone, strict=True):
        cells = " | ".join(f"{m:.1f} / {t:.1f}" for m, t in zip(mine, theirs, strict=True))
        print(f"| {count / 1e3:.0f} k | {cells} |")
    print(
        f"| mean of all {len(networks)} | {' | '.join(f'{m:.1f} /' for m in mean.mean(axis=0))} |"
    )


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", choices=SHEETS, default="report")
    parser.add_argument("--run", type=Path, default=Path("runs/uniform-fronts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    report(Trainings(family(), options.data, options.run), options.seeds)


if __name__ == "__main__":
    main()
