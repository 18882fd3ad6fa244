"""Asynchronous against synchronous search: the time with eight workers, and the quality.

    python -m benchmarks.asynchronous [--seeds 3] [--tables nbmacro channel_resnet]

For the time, Ray workers sleep with log-normal durations (sigma 1). A duration is a property of the
network, so both searches have the same ones. The searcher is random search, which takes no time to
choose. For the quality, `guided` searches tables with known fronts at equal numbers of evaluations:
with eight evaluations under way on a simulated clock, and in batches of eight.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.fault_rounds import SPACE
from benchmarks.search_tabular import evaluated, show
from benchmarks.tables import NAMES, TableProblem, load
from nas.archive.archive import Archive
from nas.evaluation.cluster import RayEvaluator
from nas.evaluation.evaluation import Arrays, Evaluation, Evaluator, EvaluatorFactory
from nas.problem.front import hypervolume
from nas.search.loop import search, search_asynchronously
from nas.search.named import searcher_named
from nas.search.random import RandomSearch
from search_spaces.space import Genotype

WORKERS, SIGMA = 8, 1.0
TIMED, MEDIAN_S = 120, 1.0
CHECKPOINTS = (25, 50, 100)


def seconds(genotype: Genotype) -> float:
    """The duration of the evaluation of a network, in seconds."""
    return MEDIAN_S * float(np.random.default_rng(genotype).lognormal(sigma=SIGMA))


def sleep(genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
    """An evaluator that sleeps for the duration of each network, then answers."""
    for genotype in genotypes:
        time.sleep(seconds(genotype))
        yield [Evaluation(genotype, {"error": 1.0}, 0, seconds(genotype), "there")]


def sleeper(_: Arrays) -> Evaluator:
    """The evaluator of a Ray worker."""
    return sleep


def timed(seed: int, folder: Path) -> list[str]:
    """The seconds of both searches, and the least number of seconds for eight workers."""
    space, took = SPACE, []
    with RayEvaluator(
        EvaluatorFactory(sleeper, {}), workers=WORKERS, cpus_per_worker=0.1
    ) as workers:
        for how in (partial(search, batch=WORKERS), search_asynchronously):
            archive = Archive(folder / f"{seed}-{len(took)}", space, study="net")
            start = time.perf_counter()
            how(RandomSearch(space, seed=seed), workers, archive, budget=TIMED)
            took.append(time.perf_counter() - start)
            least = sum(seconds(e.genotype) for e in archive.evaluations()) / WORKERS
            took.append(least / took[-1])
    batches, busy, stream, busier = took
    shown = [f"{batches:.1f}", f"{busy:.0%}", f"{stream:.1f}", f"{busier:.0%}"]
    return [str(seed), *shown, f"{stream / batches:.2f}"]


def streamed(table: TableProblem, seed: int, budget: int) -> np.ndarray:
    """The (loss, cost) of the networks that `guided` evaluates with eight under way, in order."""
    searcher = searcher_named("guided", table.problem, seed=seed)
    rng = np.random.default_rng([seed, 1])
    now, busy, points = 0.0, {}, []
    while len(points) < budget:
        while len(busy) < WORKERS and len(points) + len(busy) < budget:
            (genotype,) = searcher.ask(1)
            busy[genotype] = now + rng.lognormal(sigma=SIGMA)
        first = min(busy, key=lambda genotype: busy[genotype])
        now = busy.pop(first)
        told = table.evaluate([first])
        searcher.tell(told)
        points += [(one.metrics["error"], one.metrics["cost"]) for one in told]
    return np.array(points)


def shares(table: TableProblem, points: np.ndarray) -> list[float]:
    """The shares of the exact hypervolume at the checkpoints."""
    return [hypervolume(points[:n], table.reference) / table.exact for n in CHECKPOINTS]


def compared(name: str, seeds: int) -> Iterator[list[str]]:
    """A line per way of searching: mean and standard error over the seeds."""
    table, budget = load(name), max(CHECKPOINTS)
    ways = {f"batches of {WORKERS}": [], f"{WORKERS} under way": []}
    for seed in range(seeds):
        guided = searcher_named("guided", table.problem, seed=seed)
        batches = evaluated(table, guided, budget=budget, batch=WORKERS)
        for found, points in zip(
            ways.values(), (batches, streamed(table, seed, budget)), strict=True
        ):
            found.append(shares(table, points))
    for way, found in ways.items():
        mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(seeds)
        yield [name, way, *(f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True))]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="+", default=["nbmacro", "channel_resnet"], choices=NAMES)
    options = parser.parse_args()
    print(f"{TIMED} evaluations on {WORKERS} workers; busy: share of the workers' time:\n")
    with tempfile.TemporaryDirectory() as folder:
        lines = [timed(seed, Path(folder)) for seed in range(options.seeds)]
    show(["seed", "synchronous, s", "busy", "asynchronous, s", "busy", "ratio"], lines)
    print(f"Share of the exact hypervolume, `guided`, {options.seeds} seeds, ± standard error:\n")
    head = ["table", "evaluations", *(f"after {count}" for count in CHECKPOINTS)]
    show(head, [line for name in options.tables for line in compared(name, options.seeds)])


if __name__ == "__main__":
    main()
