"""Faults: what a search loses when its process, its workers, its disk or its evaluator fail.

    python -m benchmarks.faults [--rounds 20] [--ray]

Every round runs a search into the fault at a random instant and resumes it. The table says, over
all rounds: in how many the fault struck, the evaluations that the finished archive lacks, those
measured again although the archive held them after the fault, those that differ from the
uninterrupted search's, and the distinct errors that a user met. Rounds and instants are seeded.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nas.archive import Archive, ArchiveError
from nas.cluster import RayEvaluator
from nas.durable import WriteError
from nas.evaluate import Arrays, Evaluation, EvaluationError, Evaluator, EvaluatorFactory
from nas.search.loop import search
from nas.search.random import RandomSearch
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace

BUDGET, BATCH, WORKERS = 40, 8, 4
SECONDS = 0.02


def small_space() -> SearchSpace:
    """Some ten thousand residual networks."""
    widths = ((4, 8), (8, 16), (16, 32))
    return residual(
        channels=1, classes=10, image_sizes=(8,), widths=widths, depths=((1, 2), (1, 2))
    )


class Sleeper:
    """Waits, notes that it measured and answers with a pure function of the genotype."""

    def __init__(self, log: Path, *, act: Callable[[int], float | None] = lambda index: None):
        self._log, self._act, self._count = log, act, 0

    def __call__(self, genotypes: Sequence[Genotype]) -> Iterator[Evaluation]:
        """One evaluation per genotype."""
        for genotype in genotypes:
            time.sleep(SECONDS)
            changed, self._count = self._act(self._count), self._count + 1
            with self._log.open("a") as file:
                file.write(f"{os.getpid()} {genotype}\n")
            error = float(np.random.default_rng(genotype).uniform(0, 100))
            metrics = {"error": error if changed is None else changed}
            yield Evaluation(genotype, metrics, 0, SECONDS, "here")


def sleeper(arrays: Arrays) -> Sleeper:
    """The one of a Ray worker."""
    return Sleeper(Path(bytes(arrays["log"]).decode()))


@dataclass
class Round:
    """A search's folder and its random instant."""

    folder: Path
    rng: np.random.Generator
    space: SearchSpace = field(default_factory=small_space)

    @property
    def journal(self) -> Path:
        """The archive's file."""
        return self.folder / "archive.journal"

    @property
    def log(self) -> Path:
        """What was measured."""
        return self.folder / "log"

    def archive(self) -> Archive:
        """The archive as it is on the disk."""
        return Archive(self.journal, self.space, study="net")

    def search(self, evaluate: Evaluator | None = None, *, budget: int = BUDGET) -> None:
        """Search, or resume."""
        measure = evaluate or Sleeper(self.log)
        searcher = RandomSearch(self.space, seed=0)
        search(searcher, measure, self.archive(), budget=budget, batch=BATCH)

    def instant(self) -> int:
        """An evaluation at which something happens."""
        return int(self.rng.integers(1, BUDGET))


def driver_killed(round_: Round) -> None:
    """Kill -9 at any time after the first evaluation."""
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.faults", "--in", round_.folder])
    while not round_.log.exists():
        time.sleep(0.01)
    time.sleep(float(round_.rng.uniform(0, 1.5 * BUDGET * SECONDS)))
    child.send_signal(signal.SIGKILL)
    child.wait()


def disk_full(round_: Round) -> None:
    """No more bytes after a random number of them."""
    round_.search(budget=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = round_.journal.stat().st_size + int(round_.rng.integers(1, 60_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        round_.search()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def last_line_torn(round_: Round) -> None:
    """The journal ends in the midst of its last record."""
    round_.search(budget=round_.instant())
    size, last = _last_line(round_.journal)
    os.truncate(round_.journal, int(round_.rng.integers(last + 1, size)))


def last_line_corrupted(round_: Round) -> None:
    """A changed byte in the last record."""
    round_.search(budget=round_.instant())
    size, last = _last_line(round_.journal)
    with round_.journal.open("r+b") as file:
        file.seek(int(round_.rng.integers(last, size - 1)))
        file.write(bytes(round_.rng.integers(128, 255, size=1, dtype=np.uint8)))


def evaluator_raises(round_: Round) -> None:
    """Out of memory at one evaluation."""

    def act(index: int, instant: int = round_.instant()) -> None:
        if index == instant:
            raise MemoryError("no memory left for the activations")

    round_.search(Sleeper(round_.log, act=act))


def evaluator_gives_nan(round_: Round) -> None:
    """A subnet that diverges."""
    instant = round_.instant()
    act = lambda index: math.nan if index == instant else None  # noqa: E731
    round_.search(Sleeper(round_.log, act=act))


def workers_killed(round_: Round, *, count: int = 1) -> None:
    """Kill -9 of `count` of four Ray workers at a random evaluation."""
    arrays = {"log": np.frombuffer(str(round_.log).encode(), dtype=np.uint8)}
    instant = round_.instant()
    with RayEvaluator(EvaluatorFactory(sleeper, arrays), workers=WORKERS) as remote:

        def measure(genotypes: Sequence[Genotype]) -> Iterator[Evaluation]:
            for evaluation in remote(genotypes):
                yield evaluation
                lines = round_.log.read_text().splitlines()
                if len(lines) >= instant and not (round_.folder / "killed").exists():
                    (round_.folder / "killed").touch()
                    for pid in sorted({line.split()[0] for line in lines})[:count]:
                        os.kill(int(pid), signal.SIGKILL)

        round_.search(measure)


def half_of_the_workers_killed(round_: Round) -> None:
    """Kill -9 of two of four Ray workers at once."""
    workers_killed(round_, count=WORKERS // 2)


LOCAL = (
    driver_killed,
    disk_full,
    last_line_torn,
    last_line_corrupted,
    evaluator_raises,
    evaluator_gives_nan,
)
REMOTE = (workers_killed, half_of_the_workers_killed)


def _last_line(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    return len(content), content.rfind(b"\n", 0, len(content) - 1) + 1


def compared(fault: Callable[[Round], None], rounds: int, expected: list[Evaluation]) -> str:
    """A row of the table."""
    struck = lost = again = wrong = 0
    errors: set[str] = set()
    for seed in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            round_ = Round(Path(folder), np.random.default_rng(seed))
            try:
                fault(round_)
            except (EvaluationError, WriteError, ArchiveError) as error:
                errors.add(type(error).__name__)
            before = {e.genotype for e in round_.archive().evaluations()}
            struck += len(before) < BUDGET or (round_.folder / "killed").exists()
            measured = len(round_.log.read_text().splitlines())
            round_.search()
            resumed = round_.log.read_text().splitlines()[measured:]
            again += sum(line.split(" ", 1)[1] in map(str, before) for line in resumed)
            found = {e.genotype: e for e in round_.archive().evaluations()}
            lost += sum(e.genotype not in found for e in expected)
            wrong += sum(found.get(e.genotype, e) != e for e in expected)
            wrong += len(found) - len(expected)
    name = fault.__name__.replace("_", " ")
    return (
        f"| {name} | {struck}/{rounds} | {lost} | {again} | {wrong} | {', '.join(errors) or '-'} |"
    )


@contextmanager
def cluster() -> Iterator[None]:
    """One cluster for all rounds, started as `ray start --head` would."""
    import ray

    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--ray", action="store_true", help="kill Ray workers too")
    parser.add_argument("--in", type=Path, dest="folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        Round(options.folder, np.random.default_rng()).search()
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Round(Path(folder), np.random.default_rng(0))
        whole.search()
        expected = whole.archive().evaluations()
    print(f"{options.rounds} rounds each, {BUDGET} evaluations of {SECONDS * 1e3:g} ms a search\n")
    print("| fault | struck | lost | measured again | wrong | error |")
    print("| --- | --- | --- | --- | --- | --- |")
    for fault in LOCAL:
        print(compared(fault, options.rounds, expected), flush=True)
    if options.ray:
        with cluster():
            for fault in REMOTE:
                print(compared(fault, options.rounds, expected), flush=True)


if __name__ == "__main__":
    main()
