"""The local steps of the inner search: exact allocation, allocation by prices, and none.

    python -m benchmarks.allocation [--seeds 5] [--tables ofa_note10 mp201_joint]

The first table is about predictions, by a predictor fitted to 60 random networks: how much of the
hypervolume that a longer search finds is missed after the same number of scored networks. The
second table is about measurements: the share of the exact hypervolume that `guided` has after 100
measurements, with known cost. Exact allocation treats gain and cost of single picks as sums and
finds the best picks within twenty budgets around the cost of each network. The searcher `guided`
uses allocation by prices.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.search_tabular import curve, evaluated, show
from benchmarks.tables import NAMES, TableProblem, load
from nas.problem.front import hypervolume, nondominated
from nas.search import polish
from nas.search.allocation import allocate
from nas.search.guided import Guided, default_predictor
from nas.search.inner import UNREACHABLE, Effort, evolve
from predictors.warp import Warp
from search_spaces.space import IntArray, SearchSpace

Steps = Callable[..., IntArray]

MEASURED, BUDGET, BATCH = 60, 100, 5
BUDGETS, STATES = 20, 400
# The distance of each budget from the cost of a network, as a share of the largest cost of picks.
REACH = (0.005, 0.2)


def exactly(
    anchors: IntArray,
    at: np.ndarray,
    near: np.ndarray,
    *,
    space: SearchSpace,
    rng: np.random.Generator,
) -> IntArray:
    """The best picks within budgets around the cost of each anchor; arguments as in `polish`."""
    n, options = len(anchors), int(space.counts.sum())
    change = near.reshape(n, options, -1) - at[:, None]
    allowed = near[:, 0].reshape(n, options) < UNREACHABLE
    starts = np.cumsum(space.counts) - space.counts
    found: list[IntArray] = []
    for anchor, changes, within in zip(anchors, change, allowed, strict=True):
        within[starts + anchor] = True
        losses, costs = np.where(within, changes[:, 0], np.inf), np.where(within, changes[:, 1], 0)
        span = np.maximum.reduceat(costs, starts) - np.minimum.reduceat(costs, starts)
        reach = np.exp(rng.uniform(*np.log(REACH), size=BUDGETS)) * span.sum()
        budgets = rng.normal(0, reach)
        found.append(allocate(losses, costs, counts=space.counts, budgets=budgets, states=STATES))
    return np.concatenate(found)


def at_random(
    anchors: IntArray, *_: np.ndarray, space: SearchSpace, rng: np.random.Generator
) -> IntArray:
    """The same number of random networks, for comparison."""
    return space.sample_array(rng, BUDGETS * len(anchors))


STEPS: dict[str, Steps] = {
    "single picks only": at_random,
    "by prices": polish._allocations,  # what `guided` does  # pyright: ignore[reportPrivateUsage]
    "exact allocation": exactly,
}


def missed(table: TableProblem, seed: int) -> dict[str, float]:
    """The share of the predicted hypervolume that an inner search misses, by kind of local step."""
    space, (goal,) = table.problem.space, table.problem.goals
    rows = np.unique(space.sample_array(np.random.default_rng(seed), MEASURED), axis=0)
    losses = table.loss(rows)
    predictor = default_predictor(table.problem)
    predictor.fit(rows, Warp(losses)(losses))
    front = rows[nondominated(np.column_stack([losses, goal.values(rows)]))]

    def promise(rows: IntArray) -> np.ndarray:
        mean, spread = predictor.predict(rows)
        return mean - 0.6 * spread

    def found(steps: list[Steps], generations: int) -> np.ndarray:
        rng = np.random.default_rng([seed, 1])
        effort = Effort(generations=generations)
        pool, scores = evolve(space, goal, promise, seeds=front, effort=effort, rng=rng)
        for step in steps:
            with mock.patch.object(polish, "_allocations", step):
                pool, scores = polish.polish(
                    space, goal, promise, rows=pool, scores=scores, rng=rng
                )
        return scores

    own = {name: found([step], 20) for name, step in STEPS.items()}
    whole = np.concatenate([*own.values(), found([*STEPS.values()] * 2, 150)])
    best = whole[nondominated(whole)]
    reference = np.array([np.quantile(whole[:, 0], 0.9), best[:, 1].max() * 1.05])
    volume = hypervolume(best, reference)
    return {name: 1 - hypervolume(scores, reference) / volume for name, scores in own.items()}


def measured(table: TableProblem, seed: int) -> dict[str, float]:
    """The share of the exact hypervolume that `guided` has at the end, by kind of local step."""
    shares: dict[str, float] = {}
    for name, step in STEPS.items():
        with mock.patch.object(polish, "_allocations", step):
            searcher = Guided(table.problem, seed=seed)
            points = evaluated(table, searcher, budget=BUDGET, batch=BATCH)
        shares[name] = curve(points, table.reference, table.exact)[-1]
    return shares


def main() -> None:
    """Print a line per table and kind of local step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="+", default=["ofa_note10", "mp201_joint"], choices=NAMES)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    lines: list[list[str]] = []
    for name in options.tables:
        table = load(name)
        away = [missed(table, seed) for seed in range(options.seeds)]
        shares = [measured(table, seed) for seed in range(options.seeds)]
        for step in STEPS:
            found = np.array([share[step] for share in shares])
            more = found - [share["by prices"] for share in shares]
            spread = more.std(ddof=1) / np.sqrt(len(more)) if len(more) > 1 else np.nan
            predicted = f"{np.mean([one[step] for one in away]):.2%}"
            lines.append(
                [name, step, predicted, f"{found.mean():.3f}", f"{more.mean():+.3f} ± {spread:.3f}"]
            )
    print(f"{options.seeds} seeds\n")
    head = ["table", "local steps", "predicted hypervolume missed", f"share after {BUDGET}"]
    show([*head, "beside by prices"], lines)


if __name__ == "__main__":
    main()
