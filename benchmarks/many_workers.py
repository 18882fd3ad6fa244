"""How busy `guided` keeps many asynchronous Ray workers: busy share, seconds per ask, memory.

    python -m benchmarks.many_workers [--evaluations 3000] [--workers 64] [--seconds 30]
        [--known 0] [--one-by-one]

A worker sleeps for the duration of a network, log-normal with the mean `--seconds` and sigma 0.5;
then the driver looks its loss up in a table. Workers reserve next to no CPU, so that any number of
them share this machine. Busy is the share of the workers' time in which they sleep, from the first
question after the given number of evaluations to the first one of the next row, or to the last
question: the end of a search, when the budget has no work left for free workers, is left out. The
memory is the largest of the driver, without Ray's own processes.

With `--known`, so many random networks have been evaluated before. With `--one-by-one`, the search
does not know the number of workers, so that each question is for one network.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import numpy as np

from benchmarks.search_tabular import show
from benchmarks.sleeper import uneven
from benchmarks.tables import NAMES, TableProblem, load
from nas.archive.archive import Archive
from nas.evaluation.cluster import RayEvaluator
from nas.evaluation.evaluation import Evaluation
from nas.search.loop import search_asynchronously
from nas.search.named import searcher_named
from nas.search.random import RandomSearch
from nas.search.searcher import Searcher
from search_spaces.space import Genotype

ROW, RESERVED = 500, 0.01


class LookedUp:
    """An evaluator whose workers sleep and whose losses are those of a table.

    Args:
        table: The table, which evaluates genotypes by `evaluate`.
        workers: The workers.
    """

    def __init__(self, table: TableProblem, workers: RayEvaluator) -> None:
        self._table, self._workers = table, workers
        self.spans: list[tuple[float, float]] = []

    @property
    def capacity(self) -> int:
        """The number of genotypes that workers can measure now or that are kept ready for them."""
        return self._workers.capacity

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        """Evaluations as they arrive; begin and end of each are noted in `spans`."""
        for arrived in self._workers(genotypes):
            ends = [(float(one.where), one.seconds) for one in arrived]
            self.spans += [(end - seconds, end) for end, seconds in ends]
            yield self._table.evaluate([one.genotype for one in arrived])


@dataclass(frozen=True)
class Question:
    """A question to the searcher: its begin and end, what was told before, what was asked for."""

    begun: float
    ended: float
    told: int
    count: int


class Timed:
    """A searcher that notes its questions."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher, self._told = searcher, 0
        self.questions: list[Question] = []

    def ask(self, count: int) -> list[Genotype]:
        """The proposals of the searcher."""
        begun = time.time()
        found = self._searcher.ask(count)
        self.questions.append(Question(begun, time.time(), self._told, count))
        return found

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Tell the searcher."""
        self._told += len(evaluations)
        self._searcher.tell(evaluations)


def rows(
    questions: Sequence[Question], spans: Sequence[tuple[float, float]], *, workers: int
) -> Iterator[list[str]]:
    """A row for every 500 evaluations told."""
    begun, ended = np.array(spans).T
    starts = sorted({question.told // ROW * ROW for question in questions})
    for start in starts:
        here = [question for question in questions if start <= question.told < start + ROW]
        later = [question.begun for question in questions if question.told >= start + ROW]
        since, until = here[0].begun, later[0] if later else here[-1].begun
        slept = np.clip(np.minimum(ended, until) - np.maximum(begun, since), 0, None).sum()
        took = np.array([question.ended - question.begun for question in here])
        yield [
            f"{here[0].told:,} to {here[-1].told:,}",
            f"{until - since:.0f}",
            f"{slept / workers / max(until - since, 1e-9):.1%}",
            f"{len(here)}",
            f"{np.mean([question.count for question in here]):.1f}",
            f"{took.mean():.2f} / {took.max():.2f}",
            f"{took.sum() / (until - since):.0%}",
        ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", default="ofa_note10", choices=NAMES)
    parser.add_argument("--evaluations", type=int, default=3_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--known", type=int, default=0)
    parser.add_argument("--one-by-one", action="store_true")
    options = parser.parse_args()
    table, count = load(options.table), options.workers
    searcher = Timed(searcher_named("guided", table.problem, seed=0))
    factory = uneven(options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder) / "archive.journal", table.problem.space, study="net")
        if options.known:
            drawn = RandomSearch(table.problem.space, seed=0).ask(options.known)
            archive.append(*table.evaluate(drawn))
        with RayEvaluator(factory, workers=count, cpus_per_worker=RESERVED) as workers:
            evaluate = LookedUp(table, workers)
            way = evaluate.__call__ if options.one_by_one else evaluate
            search_asynchronously(
                searcher, way, archive, budget=options.evaluations, known=options.known
            )
    head = ["evaluations", "s", "busy", "asks", "networks per ask", "s per ask, mean / largest"]
    lines = rows(searcher.questions, evaluate.spans, workers=count)
    show([*head, "share of time in asks"], [*lines])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"The driver took {memory:.0f} MiB at most.")


if __name__ == "__main__":
    main()
