"""Scaling on Ray: evaluations per second by number of workers, alone and within a search.

    python -m benchmarks.scaling [--workers 1,2,4,8,16] [--each 40] [--supernet-workers 1,2]

Every row evaluates `--each` genotypes per worker. Workers share the CPUs of this machine.

- synthetic: an evaluator that sleeps 50 ms;
- digits: the supernet of `runs/digits.toml`, untrained (that does not change what an evaluation
  costs).

Efficiency is the rate per worker divided by that of the first row of its kind. Busy is the share of
a worker's time in which it evaluates; overhead is the rest, per evaluation. `evaluator` evaluates a
list of genotypes. `search` is a random search in batches of four per worker, with its evaluations
archived on the disk. `asynchronous` is the same without batches. One process archives, and it waits
for the disk once for all evaluations that arrived together; the line below the table says how long.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO

import numpy as np

from benchmarks import sleeper
from benchmarks.fault_rounds import SPACE
from nas.archive.archive import Archive
from nas.evaluation.cluster import RayEvaluator, connected
from nas.evaluation.evaluation import Evaluation, Evaluator, flat
from nas.recipe.recipe import load_recipe
from nas.run.folder import RunFolder
from nas.run.plan import prepare
from nas.run.steps.searching import evaluator_of
from nas.search.loop import search, search_asynchronously
from nas.search.random import RandomSearch
from search_spaces.space import SearchSpace
from supernets.supernet import Supernet

RECIPE = Path(__file__).parent.parent / "runs" / "digits.toml"
SLEEP_S, BATCHES, FRACTION = 0.05, 4, 1 / 16
WAYS = ("evaluator", "search", "asynchronous")
Kind = Callable[[int], AbstractContextManager[tuple[Evaluator, SearchSpace]]]


def evaluated(
    way: str, evaluate: Evaluator, space: SearchSpace, *, count: int, workers: int
) -> Sequence[Evaluation]:
    """The evaluations of `count` genotypes, by one of the three ways."""
    searcher = RandomSearch(space, seed=0)
    if way == "evaluator":
        return flat(evaluate(searcher.ask(count)))
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder) / "archive.journal", space, study="net")
        if way == "search":
            return search(searcher, evaluate, archive, budget=count, batch=BATCHES * workers)
        search_asynchronously(searcher, evaluate, archive, budget=count)
        return archive.evaluations()


def rows(
    name: str, evaluate: Evaluator, space: SearchSpace, *, each: int, workers: int
) -> Iterator[tuple[str, float, float, int]]:
    """The results of each way: kind, seconds per evaluation and worker, busy seconds, count."""
    for _ in evaluate(RandomSearch(space, seed=1).ask(4 * workers)):
        pass  # every worker has loaded what it needs
    for way in WAYS:
        start = time.perf_counter()
        found = evaluated(way, evaluate, space, count=each * workers, workers=workers)
        taken = (time.perf_counter() - start) * workers / len(found)
        alone = float(np.mean([evaluation.seconds for evaluation in found]))
        yield f"{name}, {way}", taken, alone, len(found)


@contextmanager
def sleeping(workers: int) -> Iterator[tuple[Evaluator, SearchSpace]]:
    """A context with workers that sleep."""
    made = sleeper.factory(SLEEP_S)
    with RayEvaluator(made, workers=workers, cpus_per_worker=FRACTION) as evaluate:
        yield evaluate, SPACE


@contextmanager
def digits(workers: int) -> Iterator[tuple[Evaluator, SearchSpace]]:
    """A context with workers that have the digits supernet, as a recipe makes them."""
    settings = [f"compute.workers={workers}", f"compute.cpus_per_worker={FRACTION}"]
    recipe = load_recipe(RECIPE, settings)
    with tempfile.TemporaryDirectory() as folder:
        plan = prepare(recipe, RunFolder(Path(folder)))
        with evaluator_of(plan, Supernet(plan.space, seed=0)) as evaluate:
            yield evaluate, plan.space


def disk_ms(times: int = 200) -> float:
    """The median milliseconds of appending 2 kB to a file and flushing them to the disk."""
    taken: list[float] = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(times):
            start = time.perf_counter()
            file.write(bytes(2048))
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e3


@contextmanager
def slower_disk(milliseconds: float) -> Iterator[None]:
    """A context in which every flush to the disk takes so many milliseconds longer."""
    flush = os.fsync

    def slow(handle: int) -> None:
        time.sleep(milliseconds / 1e3)
        flush(handle)

    os.fsync = slow
    try:
        yield
    finally:
        os.fsync = flush


def print_rows(name: str, kind: Kind, counts: Sequence[int], *, each: int, out: TextIO) -> None:
    """Print the rows of one kind of evaluator."""
    first: dict[str, float] = {}
    for workers in counts:
        with kind(workers) as (evaluate, space):
            for way, taken, alone, count in rows(name, evaluate, space, each=each, workers=workers):
                efficiency = first.setdefault(way, taken) / taken
                print(
                    f"| {way} | {workers} | {count} | {workers / taken:.1f} | {efficiency:.2f} | "
                    f"{alone / taken:.2f} | {(taken - alone) * 1e3:.1f} |",
                    file=out,
                    flush=True,
                )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--workers", type=numbers, default=[1, 2, 4, 8, 16])
    parser.add_argument("--supernet-workers", type=numbers, default=[1, 2])
    parser.add_argument("--each", type=int, default=40, help="evaluations per worker")
    parser.add_argument("--slower-disk-ms", type=float, default=0.0, help="added to every flush")
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    with slower_disk(options.slower_disk_ms):
        print_table(options)


def print_table(options: argparse.Namespace) -> None:
    """Measure the disk, then all rows, then the disk again."""
    before = disk_ms()
    print(
        "| evaluator, way | workers | evaluations | a second | efficiency | busy | overhead, ms |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    each, out = options.each, sys.stdout
    with redirect_stdout(sys.stderr), connected(None):  # Ray prints warnings
        print_rows("synthetic", sleeping, options.workers, each=each, out=out)
        print_rows("digits", digits, options.supernet_workers, each=each, out=out)
    print(
        f"\nSeed 0; {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores. Flushing a record to "
        f"the disk took {before:.1f} ms before and {disk_ms():.1f} ms after (median of 200)."
    )


if __name__ == "__main__":
    main()
