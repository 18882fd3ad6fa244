"""Seconds that predictors take to learn and to predict.

    python -m benchmarks.predictors speed [--tables nb201_pixel3 ofa_note10]
        [--predictors auto gaussian] [--sizes 250 500] [--rounds 5]

Predictors learn random networks of a table, with the cost as a column, and predict 10,000 others.
The table has the median of the rounds, in seconds of the clock, with one thread. Run it on an idle
machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.tables import NAMES, load
from nas.parts import Parts
from nas.search.guided import default_columns

_PREDICTED = 10_000


def main(arguments: Sequence[str]) -> None:
    """Time the predictors, and print the table."""
    parser = argparse.ArgumentParser(prog="speed")
    parser.add_argument(
        "--tables", nargs="+", default=["nb201_pixel3", "ofa_note10"], choices=NAMES
    )
    parser.add_argument("--predictors", nargs="+", default=["auto", "gaussian"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 500])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    print(f"| table | predictor | learned | fit, s | {_PREDICTED:,} predictions, s |")
    print("| --- | --- | --: | --: | --: |")
    with threadpool_limits(1):
        for name in options.tables:
            table = load(name)
            space, columns = table.problem.space, default_columns(table.problem)
            for predictor in options.predictors:
                for size in options.sizes:
                    rng, rounds = np.random.default_rng(size), []
                    for _ in range(options.rounds):
                        rows = np.unique(space.sample_array(rng, size), axis=0)
                        losses, others = table.loss(rows), space.sample_array(rng, _PREDICTED)
                        made = Parts("predictor")[predictor](space, columns)
                        times = [time.perf_counter()]
                        made.fit(rows, losses)
                        times.append(time.perf_counter())
                        made.predict(others)
                        rounds.append(np.diff([*times, time.perf_counter()]))
                    fit, predict = np.median(rounds, axis=0)
                    print(f"| {name} | {predictor} | {size} | {fit:.2f} | {predict:.2f} |")
