"""What networks measured on another task or in another precision bring to a predictor.

    python -m benchmarks.predictors transfer [--known 100 400] [--sizes 25 50 100] [--seeds 10]

Each case has two tables. Random networks of the first are known, and their losses become a feature
of the second (`predictors.related.Related`, as `search.transfer` of a recipe uses it). A predictor
learns random networks of the second and predicts up to 2,000 others, once with the feature and once
without.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.predictors.learned import JUDGED, mp_policies
from benchmarks.tables import ROOT
from nas.parts import Parts
from nas.run.predictor_bench import Networks
from nas.tabular import open_table
from predictors.calibrated import Calibrated
from predictors.judging import drawn, judged
from predictors.related import Related
from search_spaces.space import SearchSpace

Pair = tuple[Networks, Networks]
_OPTION = np.array([0, 1, 3, 4, 2])  # operation of the file -> option of both spaces


def cells(accuracy: str, space: SearchSpace, columns: Sequence[int]) -> Networks:
    """All cells of NAS-Bench-201 with one of its accuracies.

    Args:
        accuracy: The column of the file.
        space: The space of the genotypes.
        columns: The choice of `space` that decides each of the six edges; others stay at 0.
    """
    import pandas as pd

    file = pd.read_parquet(ROOT / "nasbench201" / "accuracy.parquet")
    rows = np.zeros((len(file), len(space.choices)), dtype=np.int64)
    for edge, column in enumerate(columns):
        rows[:, column] = _OPTION[file[f"op{edge}"]]
    return Networks(space, rows, 100 - file[accuracy].to_numpy(np.float64), {})


def other_task(accuracy: str) -> Pair:
    """CIFAR-10 after 200 epochs, and the table with another accuracy."""
    space = open_table("nasbench201", data=ROOT).space
    first, second = (cells(one, space, range(6)) for one in ("e200_cifar10_test_mean", accuracy))
    return first, second


def quantized() -> Pair:
    """The cells in full precision after 200 epochs, and policies of 2, 4 and 8 bits after 50."""
    policies = mp_policies()
    # Full precision has no decision about bits: one option is left of each.
    space = policies.space.restrict(lambda made, option: "bits" not in made.name or option == 8)
    columns = [space.column[f"edge{edge}.operation"] for edge in range(6)]
    return cells("e200_cifar10_test_mean", space, columns), policies


CASES: dict[str, Callable[[], Pair]] = {
    "CIFAR-100 after CIFAR-10": lambda: other_task("e200_cifar100_test"),
    "ImageNet16-120 after CIFAR-10": lambda: other_task("e12_imagenet16_test"),
    "mixed bits after full precision": quantized,
}


def feature(pair: Pair, known: int, seed: int) -> Related:
    """The losses of `known` random networks of the first table, for networks of the second."""
    first, second = pair
    places = np.random.default_rng([seed, known]).permutation(len(first.rows))[:known]
    return Related(
        second.space, first.space, genotypes=first.rows[places], losses=first.losses[places]
    )


def taus(pair: Pair, name: str, *, known: Sequence[int], size: int, seed: int) -> list[float]:
    """Tau without the other table, and with each number of its networks."""
    second = pair[1]
    places = drawn(len(second.rows), count=size, seed=seed, judged=JUDGED)
    sets = [(), *([feature(pair, count, seed)] for count in known)]
    made = [Calibrated(second.space, Parts("predictor")[name](second.space, one)) for one in sets]
    return [judged(one, second.rows, second.losses, places=places, cost=None).tau for one in made]


def shown(found: NDArray[np.float64]) -> str:
    """The mean of the first column of `found` `(seeds, columns)`, then mean and gain of others."""
    alone, *others = found.T
    cells = [f"{alone.mean():.3f}"]
    for joined in others:
        gain = joined - alone
        cells += [f"{joined.mean():.3f}", f"{gain.mean():+.3f} ± {gain.std(ddof=1):.3f}"]
    return " | ".join(cells)


def main(arguments: Sequence[str]) -> None:
    """Judge predictors with and without the other table, and print a line for each size."""
    parser = argparse.ArgumentParser(prog="transfer")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--predictor", default="gaussian")
    parser.add_argument("--known", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--sizes", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args(arguments)
    heads = [f"with {count} others | gain" for count in options.known]
    print(f"| task | learned | alone | {' | '.join(heads)} |")
    print(f"| --- | --: | --: {'| --: | --: ' * len(heads)}|")
    with threadpool_limits(1):
        for case in options.cases:
            pair = CASES[case]()
            for size in options.sizes:
                found = [
                    taus(pair, options.predictor, known=options.known, size=size, seed=seed)
                    for seed in range(options.first_seed, options.first_seed + options.seeds)
                ]
                print(f"| {case} | {size} | {shown(np.array(found))} |", flush=True)
