"""The values of proxies at every layer as the inputs of a predictor, without the cells themselves.

    python -m benchmarks.predictors layers [--sizes 78 156] [--seeds 10] [--results FILE]

The networks, their proxies and the file of results are those of `benchmarks.predictors
proxy-values`. Values enter as their places among those of all layers of all networks, from 0 to 1,
which needs no losses; 0 stands for a layer that a network does not have.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from benchmarks.predictors.joined import known_cells
from benchmarks.predictors.proxy_values import RESULTS, values
from benchmarks.tables import ROOT
from nas.tabular import open_table
from predictors.calibrated import Calibrated
from predictors.judging import drawn, judged
from predictors.mixer import Mixer
from predictors.ridge import Features
from search_spaces.space import IntArray, as_genotypes


def statistics(scored: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
    """All statistics of the first layer, then those of the second, and so on, `(n, columns)`.

    A layer is a module of the network together with the norm and the rectifier beside it.
    """
    held: dict[tuple[str, str], NDArray[np.float64]] = {}
    for place, layers in enumerate(scored):
        for proxy, by_layer in layers.items():
            for name, value in by_layer.items():
                key = (name.rpartition(".")[0] or name, proxy)
                column = held.setdefault(key, np.full(len(scored), np.nan))
                column[place] = np.nansum([column[place], value])
    found = np.array([held[key] for key in sorted(held)])
    proxies = np.array([proxy for _, proxy in sorted(held)])
    for proxy in set(proxies.tolist()):
        block = found[proxies == proxy]
        there = ~np.isnan(block)
        block[there] = rankdata(block[there]) / there.sum()
        found[proxies == proxy] = block
    return np.nan_to_num(found).T.astype(np.float32)


def looked_up(rows: IntArray, columns: NDArray[np.float32]) -> Features:
    """The columns `(n, columns)` of the networks `rows` `(n, choices)` as features."""
    place = {genotype: number for number, genotype in enumerate(as_genotypes(rows))}
    return lambda asked: columns[[place[genotype] for genotype in as_genotypes(asked)]]


def main(arguments: Sequence[str]) -> None:
    """Judge the mixer on values of layers, and print the table."""
    parser = argparse.ArgumentParser(prog="layers")
    parser.add_argument("--count", type=int, default=725)
    parser.add_argument("--sizes", type=int, nargs="+", default=[78, 156])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    space = open_table("nasbench201", data=ROOT).space
    rows, losses = known_cells(options.count)
    layers = statistics([line["layers"] for line in values(options.count, options.results)])
    predictor = Calibrated(space, Mixer(looked_up(rows, layers)))
    print("| learned | tau | deviation |\n| --: | --: | --: |")
    with threadpool_limits(1):
        for size in options.sizes:
            taus: list[float] = []
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                places = drawn(len(rows), count=size, seed=seed, judged=len(rows))
                taus.append(judged(predictor, rows, losses, places=places, cost=None).tau)
            print(f"| {size} | {np.mean(taus):.3f} | {np.std(taus, ddof=1):.3f} |", flush=True)
