"""Learned predictors on published tables: ranking, explained variance, intervals and time.

    python -m benchmarks.predictors learned [--tables nasbench201] [--predictors auto]
        [--sizes 50 1000] [--seeds 10] [--results FILE]

Every predictor learns the same random networks of a table with repaired deviations, and predicts up
to 2,000 others. Beside the predictors stand the costs of the table, as rankings of the networks,
dearest first. Each judgement is a line of the file of results and is not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.tables import ROOT
from nas.parts import Parts
from nas.run.predictor_bench import Networks, networks_of
from nas.tabular import open_table
from predictors.calibrated import Calibrated
from predictors.judging import drawn, judged, ranking

RESULTS = Path("runs/predictors/learned.jsonl")
JUDGED = 2_000
SIZES = (50, 100, 250, 400)
_OPERATIONS = {0: 0, 1: 1, 4: 2, 2: 3, 3: 4}  # of the file -> option of the space
_WEIGHTS = np.array([0, 0, 0, 1, 9])  # of an operation, as a multiple of a 1x1 convolution


def nasbench201() -> Networks:
    """All cells of NAS-Bench-201; parameters and MACs both rise with the weights of the cell."""
    found = networks_of("nasbench201", data=ROOT)
    weights = _WEIGHTS[found.rows].sum(axis=1).astype(np.float64)
    costs = {"parameters and MACs": weights, "latency": found.costs["1080ti_1.latency_ms"]}
    return Networks(found.space, found.rows, found.losses, costs)


def mp_policies() -> Networks:
    """The measured policies of MP-NAS-Bench-201 that all stages share, after 50 epochs."""
    file = pd.read_parquet(ROOT / "mp_nasbench201/policies.parquet")
    file = file[(file["epochs"] == 50) & (file["assign"] == "uniform")]
    space = open_table("mp-nasbench201", data=ROOT).space
    rows = np.zeros((len(file), len(space.choices)), dtype=np.int64)
    macs, bitops = np.zeros((2, len(file)))
    for edge in range(6):
        picked = file[f"op{edge}"].map(_OPERATIONS).to_numpy()
        bits = file[f"s1_b{edge}"].to_numpy()
        rows[:, space.column[f"edge{edge}.operation"]] = picked
        rows[:, space.column[f"edge{edge}.bits"]] = np.select([bits == 4, bits == 8], [1, 2], 0)
        macs += _WEIGHTS[picked]
        bitops += _WEIGHTS[picked] * bits
    rows, first = np.unique(space.canonical_array(rows), axis=0, return_index=True)
    losses = 100 * (1 - file["acc"].to_numpy()[first])
    costs = {"BitOPs": bitops[first], "parameters and MACs": macs[first]}
    return Networks(space, rows, losses, costs)


TABLES: dict[str, Callable[[], Networks]] = {
    "nasbench201": nasbench201,
    "nasbench-macro": lambda: networks_of("nasbench-macro", data=ROOT),
    "channel-bench-resnet": lambda: networks_of("channel-bench-resnet", data=ROOT),
    "mp-policies": mp_policies,
    "ofa-note10": lambda: networks_of("ofa-note10", data=ROOT),
}


def one(networks: Networks, name: str, size: int, seed: int) -> dict[str, Any]:
    """The judgement of a predictor for one draw, with its seconds of processor time."""
    bins = next(iter(networks.costs.values()))
    places = drawn(len(networks.rows), count=size, seed=seed, judged=JUDGED)
    predictor = Calibrated(networks.space, Parts("predictor")[name](networks.space))
    start = time.process_time()
    found = judged(predictor, networks.rows, networks.losses, places=places, cost=bins)
    return asdict(found) | {"seconds": round(time.process_time() - start, 3)}


def missing(options: argparse.Namespace) -> None:
    """Make the missing judgements, and write each to the file."""
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = {(*(line[key] for key in _KEYS),) for line in lines(options.results)}
    tables = {name: TABLES[name]() for name in options.tables}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for table, networks in tables.items():
            for size in options.sizes:
                for name in options.predictors:
                    key = (table, name, size, seed)
                    if key not in known:
                        found = dict(zip(_KEYS, key, strict=True))
                        found |= one(networks, name, size, seed)
                        with options.results.open("a") as file:
                            file.write(json.dumps(found) + "\n")


_KEYS = ("table", "predictor", "size", "seed")


def lines(path: Path) -> list[dict[str, Any]]:
    """The judgements in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def show(found: Sequence[dict[str, Any]], tables: Sequence[str], sizes: Sequence[int]) -> None:
    """Print a line per table and predictor: means over seeds after each number of networks."""
    learned = " / ".join(map(str, sizes))
    head = [
        *("table", "predictor", "draws", f"tau after {learned}", "tau in bins", "R2"),
        *("inside, %", "of the best tenth, %", "s"),
    ]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for table in tables:
        networks = TABLES[table]()
        bins = next(iter(networks.costs.values()))
        for name, cost in networks.costs.items():
            made = ranking(cost, networks.losses, cost=bins)
            print(f"| {table} | *{name}* | | {made.tau:.3f} | {made.within:.3f} | | | | |")
        frame = pd.DataFrame([line for line in found if line["table"] == table])
        for name, group in frame.groupby("predictor", sort=False):
            means = group.groupby("size").mean(numeric_only=True).reindex(sizes)
            draws = group.groupby("size").size().reindex(sizes, fill_value=0)
            digits = {"tau": 3, "within": 3, "r2": 2, "held": 0, "held_best": 0, "seconds": 2}
            means[["held", "held_best"]] *= 100
            cells = [_each(means[key], places) for key, places in digits.items()]
            print(f"| {table} | {name} | {_each(draws, 0)} | {' | '.join(cells)} |")


def _each(values: pd.Series, places: int) -> str:
    """The values after each number of networks; a dash where there is none."""
    return " / ".join("-" if np.isnan(value) else f"{value:.{places}f}" for value in values)


def main(arguments: Sequence[str]) -> None:
    """Make the missing judgements and print the table."""
    parser = argparse.ArgumentParser(prog="learned")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--predictors", nargs="+", default=list(Parts("predictor")))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with threadpool_limits(1):
        missing(options)
    show(lines(options.results), options.tables, options.sizes)
