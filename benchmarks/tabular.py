"""How much of an exact Pareto front searchers find per evaluation, where costs are known.

Run as `python -m benchmarks.tabular [--tables nbmacro ...] [--seeds 3]`; prints markdown tables of
the share of the exact hypervolume (tight reference point) after so many evaluations.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from benchmarks.tables import NAMES, TableProblem, load
from nas.search.base import Searcher
from nas.search.evolution import Evolution
from nas.search.front import hypervolume
from nas.search.guided import Guided
from nas.search.random import RandomSearch

CHECKPOINTS = (50, 100, 250)

SEARCHERS: dict[str, Callable[[TableProblem, int], Searcher]] = {
    "random": lambda table, seed: RandomSearch(table.problem.space, seed=seed),
    "nsga2": lambda table, seed: Evolution(table.problem, seed=seed, population=20),
    "guided": lambda table, seed: Guided(table.problem, seed=seed),
}


def curve(table: TableProblem, searcher: Searcher, *, budget: int, batch: int) -> list[float]:
    """The share of the exact hypervolume at each checkpoint within `budget`."""
    points: list[np.ndarray] = []
    shares: list[float] = []
    goal = table.problem.goals[0]
    while len(points) < budget:
        asked = searcher.ask(min(batch, budget - len(points)))
        if not asked:
            break
        told = table.evaluate(asked)
        searcher.tell(told)
        costs = goal.values(np.array(asked))
        losses = [evaluation.metrics["error"] for evaluation in told]
        points += list(np.column_stack([losses, costs]))
    for checkpoint in CHECKPOINTS:
        if checkpoint <= budget:
            area = hypervolume(np.array(points[:checkpoint]), table.reference)
            shares.append(area / table.exact)
    return shares


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--searchers", nargs="+", default=list(SEARCHERS), choices=SEARCHERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=250)
    parser.add_argument("--batch", type=int, default=10)
    options = parser.parse_args()
    print(f"| table | searcher | {' | '.join(map(str, CHECKPOINTS))} | spread | s per run |")
    print("|---|---|" + "---|" * (len(CHECKPOINTS) + 2))
    for name in options.tables:
        table = load(name)
        for which in options.searchers:
            start = time.perf_counter()
            runs = np.array(
                [
                    curve(
                        table,
                        SEARCHERS[which](table, seed),
                        budget=options.budget,
                        batch=options.batch,
                    )
                    for seed in range(options.seeds)
                ]
            )
            seconds = (time.perf_counter() - start) / options.seeds
            shares = " | ".join(f"{share:.3f}" for share in runs.mean(axis=0))
            spread = runs[:, -1].std(ddof=1) if len(runs) > 1 else float("nan")
            print(f"| {name} | {which} | {shares} | {spread:.3f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
