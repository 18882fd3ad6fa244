"""One set of weights for all bit-widths against a network trained for each bit-width alone.

    python -m benchmarks.elastic_dedicated [--lengths short long] [--seeds 0 1 2]
        [--data report-10000] [--run FOLDER]

A residual network of one block in each of three stages, with 16, 32 and 64 channels (ResNet-8), is
trained once with elastic bits, 2, 3, 4 or 8 for the weights and the inputs of every block, and once
for each uniform bit-width alone, for equally many epochs. All networks are deployed and tested on
the same images. The gap is paired by seed: the accuracy of the elastic weights minus that of the
weights trained alone. First and last layers have 8 bits.

The images are those of `benchmarks.fidelity`. Every training continues from its checkpoint in
FOLDER, and every result is kept there; start a killed run again with the same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.fidelity import IMAGE, SHEETS, FloatArray, shown
from benchmarks.kept_training import KeptTraining
from benchmarks.ranking import only
from search_spaces.policy import Policy, uniform
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace
from supernets.training.schedule import TrainingSettings

# The numbers of epochs in full precision and with quantization.
LENGTHS = {"short": (6, 4), "long": (18, 12)}
BITS, TESTED = (8, 4, 3, 2), 10_000


def network() -> SearchSpace:
    """The network, with a choice of bits for the weights and for the inputs of every block."""
    policy = Policy(weight_bits=BITS[::-1], activation_bits=BITS[::-1], fineness="block")
    widths, depths = ((16,), (16,), (32,), (64,)), ((1,), (1,), (1,))
    return residual(**IMAGE, widths=widths, depths=depths, policy=policy)


def at(space: SearchSpace, bits: int) -> Genotype:
    """The network with the same bits everywhere."""
    found = uniform(space, bits, space.largest)
    assert found is not None
    return found


def accuracies(length: str, seed: int, data: str, folder: Path) -> tuple[FloatArray, FloatArray]:
    """The accuracy at each of `BITS` in percent: trained alone, and with elastic bits."""
    floats, quantized = LENGTHS[length]
    settings = TrainingSettings(float_epochs=floats, quantized_epochs=quantized, seed=seed)
    space = network()
    genotypes = [at(space, bits) for bits in BITS]

    def scores(trained: SearchSpace, subnets: Sequence[Genotype]) -> FloatArray:
        return KeptTraining(trained, settings, data, folder).scores(subnets, tested=TESTED)[:, 0]

    single = [only(space, genotype) for genotype in genotypes]
    alone = np.concatenate([scores(one, [one.largest]) for one in single])
    return alone, scores(space, genotypes)


def rows(length: str, seeds: Sequence[int], data: str, folder: Path) -> Iterator[str]:
    """The lines of the table for one length of training."""
    found = np.array([accuracies(length, seed, data, folder) for seed in seeds])
    labels = ("alone, %", "elastic, %", "gap, points")
    values = (found[:, 0], found[:, 1], found[:, 1] - found[:, 0])
    for label, by_seed in zip(labels, values, strict=True):
        cells = (shown(column, signed=label.startswith("gap")) for column in by_seed.T)
        yield f"| {'+'.join(map(str, LENGTHS[length]))} | {label} | {' | '.join(cells)} |"


def main() -> None:
    """Do the missing trainings and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", choices=SHEETS, default="report-10000")
    parser.add_argument("--run", type=Path, default=Path("runs/elastic_dedicated"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    print(f"| epochs | | {' | '.join(f'W{bits}A{bits}' for bits in BITS)} |")
    print(f"| --- | --- | {' | '.join(['---'] * len(BITS))} |")
    for length in options.lengths:
        for row in rows(length, options.seeds, options.data, options.run):
            print(row, flush=True)


if __name__ == "__main__":
    main()
