"""A search that learns from the archive of another space, against one without an archive.

    python -m benchmarks.other_space [--seeds 5] [--cases ofa] [--results FILE]

There are 100 evaluations of a smaller space or another task first. Then come 100 of the space
itself, with the first ones (`search.transfer` of a recipe) and without them. A share is that of the
exact hypervolume for the tight reference point. Every finished run is a line of `--results` and is
not run again. The script needs the tables of `ELASTIC_NAS_TABLES`, and pyarrow.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.many_devices import device, losses, position, spread
from benchmarks.search_tabular import show
from benchmarks.tables import ROOT, TableProblem, load
from nas.evaluation.evaluation import Evaluation
from nas.problem.front import hypervolume
from nas.problem.goals import Goal, Problem
from nas.run.experience import Experience
from nas.search.guided import Guided, Settings, default_columns
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess
from predictors.related import Translation
from search_spaces.choice import Choice
from search_spaces.space import Genotype, IntArray, as_genotypes

FloatArray = NDArray[np.float64]
Loss = Callable[[IntArray], FloatArray]
BUDGET, BATCH, MARKS = 100, 10, (25, 50, 100)
RESULTS = Path("runs/other_space/results.jsonl")
SMALLER = {"depth": (2, 3), "kernel": (3, 5), "expand": (3, 4)}


@dataclass(frozen=True)
class Case:
    """Two search problems, of which the first may help the second.

    Attributes:
        known: The problem that is searched first.
        known_loss: The loss of the genotypes of this problem.
        table: The problem that is searched second.
    """

    known: Problem
    known_loss: Loss
    table: TableProblem


def other_task() -> Case:
    """The case of CIFAR-100 after a search on CIFAR-10."""
    from pyarrow import parquet

    known = load("nb201_pixel3")
    cells = parquet.read_table(ROOT / "nasbench201/accuracy.parquet").to_pydict()
    error = np.empty_like(losses())
    rank = np.argsort(known.problem.space.choices[0].options)  # the rank of every operator, 0 to 4
    place = position(rank[[cells[f"op{edge}"] for edge in range(6)]].T)
    error[place] = 100 - np.array(cells["e200_cifar100_test"])
    every = np.indices((5,) * 6).reshape(6, -1).T
    made = device("pixel3", known.cost(every), error=error)
    table = replace(
        known,
        loss=lambda rows: error[position(rows)],
        reference=made.reference,
        exact=made.exact,
    )
    return Case(known.problem, known.loss, table)


def part_of(name: str, keep: Callable[[Choice[Any], Any], bool]) -> Case:
    """The case of a whole space after a search of a part of that space."""
    table = load(name)
    whole = table.problem.space
    part = whole.restrict(keep)
    out = Translation(part, whole, otherwise=np.array(whole.largest))
    goal = Goal(name, {"cost": lambda rows: table.cost(out(rows))}, ("cost",))
    return Case(Problem(part, (goal,)), lambda rows: table.loss(out(rows)), table)


def _smaller(made: Choice[Any], option: Any) -> bool:
    return option in SMALLER[made.name.rpartition(".")[2]]


CASES: dict[str, Callable[[], Case]] = {
    "task": other_task,
    "bits": lambda: part_of("mp201_joint", lambda c, o: not c.name.endswith("bits") or o == 8),
    "ofa": lambda: part_of("ofa_note10", _smaller),
}
TITLES = {
    "task": "NAS-Bench-201, Pixel 3: CIFAR-100 after CIFAR-10",
    "bits": "MP-NAS-Bench-201: architecture and bits after architectures in 8 bits",
    "ofa": "OFA-MobileNetV3, Note10: 45 choices of 3 after the 45 with 2 smaller options",
}


def evaluated(searcher: Guided, loss: Loss) -> list[Genotype]:
    """The genotypes that a searcher asks for, in order."""
    found: list[Genotype] = []
    while len(found) < BUDGET:
        asked = searcher.ask(min(BATCH, BUDGET - len(found)))
        searcher.tell(
            [
                Evaluation(genotype, {"error": float(error)}, 0, 0.0, "table")
                for genotype, error in zip(asked, loss(np.array(asked)), strict=True)
            ]
        )
        found += asked
    return found


def helped(case: Case, seed: int) -> Guided:
    """The searcher of a recipe with `search.transfer`."""
    rows = np.array(evaluated(Guided(case.known, seed=1000 + seed), case.known_loss))
    experience = Experience(case.known.space, rows, case.known_loss(rows))
    problem = case.table.problem
    first = experience.first(problem, Settings().initial, rng=np.random.default_rng([seed, 2]))
    columns = [*default_columns(problem), experience.column(problem.space)]
    predictor = GaussianProcess(OneHot(problem.space, extra=columns))
    return Guided(problem, seed=seed, predictor=predictor, initial=as_genotypes(first))


def shares(table: TableProblem, found: Sequence[Genotype]) -> list[float]:
    """The shares of the exact hypervolume at the marks."""
    rows = np.array(found)
    points = np.column_stack([table.loss(rows), table.cost(rows)])
    return [hypervolume(points[:mark], table.reference) / table.exact for mark in MARKS]


def run(case: Case, seed: int, *, transfer: bool) -> list[float]:
    """Shares of one search."""
    searcher = helped(case, seed) if transfer else Guided(case.table.problem, seed=seed)
    return shares(case.table, evaluated(searcher, case.table.loss))


def main() -> None:
    """Do the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=[*CASES], choices=CASES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.touch()
    done = dict(map(json.loads, options.results.read_text().splitlines()))
    lines: list[list[str]] = []
    for name in options.cases:
        case = CASES[name]()
        for transfer in (False, True):
            found: list[list[float]] = []
            for seed in range(options.seeds):
                key = f"{name} {seed} {transfer}"
                if key not in done:
                    done[key] = run(case, seed, transfer=transfer)
                    with options.results.open("a") as file:
                        file.write(json.dumps([key, done[key]]) + "\n")
                found.append(done[key])
            known = "the other archive" if transfer else "nothing"
            lines.append([TITLES[name], known, *map(spread, np.array(found).T)])
    print(f"{options.seeds} seeds, mean and standard deviation.\n")
    show(["search", "known", *(f"after {mark}" for mark in MARKS)], lines)


if __name__ == "__main__":
    main()
