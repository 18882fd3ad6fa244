"""Learned predictors with and without proxies as features, on the same networks.

    python -m benchmarks.predictors joined [--seeds 10] [--results FILE]

The networks, their proxies and the file of results are those of `benchmarks.predictors
proxy-values`. Every predictor learns random networks of these and predicts the others, once from
the cells alone and once with every proxy as a further feature. A proxy enters as the place of its
value among those of all networks, from 0 to 1, which needs no losses.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.predictors.proxy_values import RESULTS, cells, values
from benchmarks.tables import ROOT
from nas.parts import Parts
from nas.tabular import open_table
from predictors.calibrated import Calibrated
from predictors.features import Column
from predictors.judging import drawn, judged
from search_spaces.space import IntArray, as_genotypes

FloatArray = NDArray[np.float64]
SIZES = (50, 78, 100, 156, 400)
_OPTION = {0: 0, 1: 1, 4: 2, 2: 3, 3: 4}  # operation of the file -> option of the space


def column(rows: IntArray, scores: FloatArray) -> Column:
    """The places of `scores` `(n,)` among each other as a feature, 0.5 for other networks."""
    places = np.argsort(np.argsort(scores)) / (len(scores) - 1)
    known = dict(zip(as_genotypes(rows), places.tolist(), strict=True))
    return lambda asked: np.array([known.get(genotype, 0.5) for genotype in as_genotypes(asked)])


def known_cells(count: int) -> tuple[IntArray, FloatArray]:
    """The genotypes `(count, 6)` of the scored cells and their test errors in percent."""
    chosen = cells(count)
    rows = np.array([[_OPTION[cell[f"op{edge}"]] for edge in range(6)] for cell in chosen])
    return rows, np.array([100 - cell["e200_cifar10_test_mean"] for cell in chosen])


def main(arguments: Sequence[str]) -> None:
    """Judge the predictors with and without proxies, and print the table."""
    parser = argparse.ArgumentParser(prog="joined")
    parser.add_argument("--count", type=int, default=725)
    parser.add_argument("--predictors", nargs="+", default=["gaussian", "auto"])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    space = open_table("nasbench201", data=ROOT).space
    rows, losses = known_cells(options.count)
    scored = [line["scores"] for line in values(options.count, options.results)]
    proxies = [column(rows, np.array([line[name] for line in scored])) for name in scored[0]]
    print("| predictor | learned | cells alone | with proxies | gain |\n|---|---|---|---|---|")
    with threadpool_limits(1):
        for name in options.predictors:
            for size in options.sizes:
                taus: list[list[float]] = []
                for seed in range(options.first_seed, options.first_seed + options.seeds):
                    places = drawn(len(rows), count=size, seed=seed, judged=len(rows))
                    made = [
                        Calibrated(space, Parts("predictor")[name](space, columns))
                        for columns in ((), proxies)
                    ]
                    taus.append(
                        [judged(one, rows, losses, places=places, cost=None).tau for one in made]
                    )
                alone, joined = np.array(taus).T
                gain = joined - alone
                print(
                    f"| {name} | {size} | {alone.mean():.3f} | {joined.mean():.3f} | "
                    f"{gain.mean():+.3f} ± {gain.std(ddof=1):.3f} |",
                    flush=True,
                )
