"""Rounds of a search that meets a fault and is resumed, and the comparison of their archives."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import sleeper
from benchmarks.sleeper import Sleeper
from nas.archive.archive import Archive, ArchiveError
from nas.evaluation.evaluation import Evaluation, EvaluationError, Evaluator
from nas.files.durable import WriteError
from nas.search.loop import search
from nas.search.random import RandomSearch
from search_spaces.ops import Input
from search_spaces.residual import residual

BUDGET, BATCH, SECONDS = 40, 8, 0.02
TRIAL = b'{"op_code":4,'


SPACE = residual(
    inputs=(Input("image", (1, 8, 8)),),
    output=(10,),
    widths=((4, 8), (8, 16), (16, 32)),
    depths=((1, 2), (1, 2)),
)
Fault = Callable[["Round"], None]


@dataclass
class Round:
    """One round: the folder of a search, and the random instant of its fault."""

    folder: Path
    rng: np.random.Generator

    @property
    def journal(self) -> Path:
        """The file of the archive."""
        return self.folder / "archive.journal"

    @property
    def told(self) -> list[str]:
        """The genotypes that the search has reported as archived."""
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []

    def archive(self) -> Archive:
        """The archive with the current content of its file."""
        return Archive(self.journal, SPACE, study="net")

    def records(self) -> int:
        """The number of written evaluations, repeated ones included."""
        return self.journal.read_bytes().count(TRIAL)

    def twice(self) -> int:
        """The number of networks that two drivers measured; 0, since there is one driver."""
        return 0

    def search(self, evaluate: Evaluator | None = None, *, budget: int = BUDGET) -> None:
        """Start or resume the search, with an evaluator that sleeps in this process by default."""
        with (self.folder / "told").open("a") as told:

            def progress(_done: int, _budget: int, latest: Sequence[Evaluation]) -> None:
                told.writelines(f"{evaluation.genotype}\n" for evaluation in latest)
                told.flush()

            search(
                RandomSearch(SPACE, seed=0),
                evaluate or Sleeper(SECONDS, self.folder),
                self.archive(),
                budget=budget,
                batch=BATCH,
                progress=progress,
            )

    def plan(self, fault: str) -> None:
        """Plan the fault for a random evaluation."""
        sleeper.plan(self.folder, fault, int(self.rng.integers(1, BUDGET - BATCH)))


def compared(
    name: str,
    fault: Fault,
    rounds: int,
    expected: list[Evaluation],
    *,
    kind: type[Round] = Round,
) -> str:
    """A line of the table: the counts of all rounds with one fault."""
    found: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for seed in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            round_ = kind(Path(folder), np.random.default_rng(seed))
            ends[_end(fault, round_)] += 1
            found.update(_resumed(round_, expected))
    columns = ("lost", "duplicated", "wrong", "again")
    counts = " | ".join(str(found[column]) for column in columns)
    told = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    return f"| {name} | {found['struck']} of {rounds} | {counts} | {told} |"


def _end(fault: Fault, round_: Round) -> str:
    try:
        fault(round_)
    except (EvaluationError, WriteError, ArchiveError) as error:
        logging.getLogger(__name__).info("%s", error)
        return f"`{type(error).__name__}`"
    return "complete" if len(round_.told) >= BUDGET else "cut short"


def _resumed(round_: Round, expected: list[Evaluation]) -> dict[str, int]:
    """The damage of a fault: counts from the resumed archive and a search without the fault."""
    told = set(round_.told)
    before = {str(evaluation.genotype) for evaluation in round_.archive().evaluations()}
    struck = (round_.folder / "struck").exists() or len(before) < BUDGET
    (round_.folder / "struck").touch()
    count, twice = sleeper.measured(round_.folder), round_.twice()
    round_.search()
    resumed = (round_.folder / "log").read_text().splitlines()[count:]
    found = {evaluation.genotype: evaluation for evaluation in round_.archive().evaluations()}
    again = sum(genotype in before for genotype in resumed)
    return {
        "struck": int(struck),
        "lost": sum(evaluation.genotype not in found for evaluation in expected),
        "duplicated": round_.records() - len(found) + again + twice,
        "wrong": sum(evaluation not in expected for evaluation in found.values()),
        "again": len(told - before),
    }
