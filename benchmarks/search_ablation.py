"""The value of each part of the guided search: the part is left out or replaced by another.

    python -m benchmarks.search_ablation [--seeds 5] [--budget 100]
    python -m benchmarks.search_ablation --show

Every variant differs from `guided` in one part and runs on the same tables and seeds. The seeds are
not those of `search_tabular`. Finished runs are lines of `--results` and are not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.search_tabular import Run, curve, done, evaluated, show
from benchmarks.tables import load
from nas.problem.goals import Problem
from nas.search import guided
from nas.search.guided import Guided, Settings, default_columns
from nas.search.searcher import Searcher
from predictors.ensemble import Ensemble
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess
from predictors.predictor import Predictor
from predictors.ridge import Ridge
from predictors.ways import Ways
from search_spaces.space import IntArray

TABLES = ("nb201_1080ti_256", "nb201_pixel3", "mp201_joint", "nbmacro", "channel_resnet")
TABLES += ("ofa_note10",)
FIRST_SEED = 200
RESULTS = Path("runs/search_ablation/results.jsonl")
Features = Callable[[IntArray], np.ndarray]


class Forest:
    """A random forest as a predictor; its standard deviation is that between trees."""

    def __init__(self, features: Features) -> None:
        self._features = features

    def fit(self, genotypes: IntArray, losses: np.ndarray) -> None:
        """Learn the losses `(n,)` of genotypes `(n, choices)`."""
        from sklearn.ensemble import RandomForestRegressor

        forest = RandomForestRegressor(100, max_features=0.5, random_state=0)
        self._trees = forest.fit(self._features(genotypes), losses).estimators_

    def predict(self, genotypes: IntArray) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the standard deviation over the trees, each `(n,)`."""
        seen = np.ascontiguousarray(self._features(genotypes), dtype=np.float32)
        each = np.array([tree.tree_.predict(seen)[:, 0] for tree in self._trees])
        return each.mean(axis=0), each.std(axis=0) + 1e-6


def features(problem: Problem) -> OneHot:
    """The features that `guided` uses."""
    return OneHot(problem.space, extra=default_columns(problem))


def unordered(problem: Problem) -> Predictor:
    """The Gaussian process without the order of options of single choices; sums over kinds stay."""
    seen = features(problem)
    seen.expansion[:, seen.parts[1]] = 0
    return GaussianProcess(seen)


def shapeless(problem: Problem) -> Predictor:
    """The Gaussian process without the features of paths through a cell."""
    seen = features(problem)
    last = seen.columns - len(default_columns(problem))
    seen.expansion[:, last - Ways(problem.space).columns : last] = 0
    return GaussianProcess(seen)


def bake_off(problem: Problem) -> Predictor:
    """The ensemble of process, ridge and forest, weighted by cross-validation in every round."""
    seen = features(problem)
    return Ensemble([GaussianProcess(seen), Ridge(seen), Forest(seen)])


def _with(predictor: Callable[[Problem], Predictor]) -> Callable[[Problem, int], Searcher]:
    return lambda problem, seed: Guided(problem, seed=seed, predictor=predictor(problem))


def _set(**settings: object) -> Callable[[Problem, int], Searcher]:
    return lambda problem, seed: Guided(problem, seed=seed, settings=Settings(**settings))  # pyright: ignore[reportArgumentType]


def _random_start(problem: Problem, seed: int) -> Searcher:
    rows = problem.space.sample_array(np.random.default_rng([seed, 7]), Settings().initial)
    return Guided(problem, seed=seed, initial=[tuple(row) for row in rows.tolist()])


VARIANTS: dict[str, Callable[[Problem, int], Searcher]] = {
    "guided": lambda problem, seed: Guided(problem, seed=seed),
    "batch of 1": lambda problem, seed: Guided(problem, seed=seed),
    "batch of 20": lambda problem, seed: Guided(problem, seed=seed),
    "cost unknown": lambda problem, seed: Guided(problem, seed=seed),
    "surrogate: ridge": _with(lambda problem: Ridge(features(problem))),
    "surrogate: forest": _with(lambda problem: Forest(features(problem))),
    "surrogate: bake-off of the three": _with(bake_off),
    "no order of options": _with(unordered),
    "no ways through cells": _with(shapeless),
    "no cost column": _with(lambda problem: GaussianProcess(OneHot(problem.space))),
    "hardly any uncertainty": _set(exploration=(0.01, 0.01)),
    "one share of the uncertainty, 0.6": _set(exploration=(0.6, 0.6)),
    "twice the uncertainty": _set(exploration=(0.5, 3.0)),
    "first batch random": _random_start,
    "first batch of 36": _set(initial=36),
    "no allocation steps": lambda problem, seed: Guided(problem, seed=seed),
}
BATCH = {"batch of 1": 1, "batch of 20": 20}


def one_run(variant: str, name: str, seed: int, budget: int) -> Run:
    """The run of a variant, with its curve for the tight reference point."""
    table = load(name)
    problem = (table.with_unknown_cost() if variant == "cost unknown" else table).problem
    searcher = VARIANTS[variant](problem, seed)
    batch = BATCH.get(variant, 5)
    if variant == "no allocation steps":
        with patch.object(guided, "polish", lambda *_, rows, scores, rng: (rows, scores)):
            points = evaluated(table, searcher, budget=budget, batch=batch)
    else:
        points = evaluated(table, searcher, budget=budget, batch=batch)
    tight = curve(points, table.reference, table.exact)
    return {"variant": variant, "table": name, "seed": seed, "budget": budget, "tight": tight}


def report(runs: Sequence[Run], budget: int) -> None:
    """Print the share of every variant per table, and its paired difference from `guided`."""
    share = {(r["variant"], r["table"], r["seed"]): r["tight"][budget - 1] for r in runs}
    lines: list[list[str]] = []
    for variant in VARIANTS:
        cells, apart = [variant], []
        for name in TABLES:
            found = [
                (s, v) for (what, table, s), v in share.items() if (what, table) == (variant, name)
            ]
            cells.append(f"{np.mean([v for _, v in found]):.3f}" if found else "")
            apart += [v - share[("guided", name, s)] for s, v in found]
        error = np.std(apart, ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.nan
        cells += [f"{np.mean(apart):+.3f} ± {error:.3f}" if apart else "", str(len(apart))]
        lines.append(cells)
    print(f"Share of the exact hypervolume after {budget} evaluations, tight reference point; the")
    print("paired difference from `guided` with its standard error over all tables and seeds:\n")
    show(["variant", *TABLES, "difference", "runs"], lines)


def main() -> None:
    """Do the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--show", action="store_true", help="print what is on disk, run nothing")
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = {(r["variant"], r["table"], r["seed"], r["budget"]) for r in done(options.results)}
    for seed in range(FIRST_SEED, FIRST_SEED + (0 if options.show else options.seeds)):
        for variant in options.variants:
            for name in TABLES:
                if (variant, name, seed, options.budget) not in known:
                    run = one_run(variant, name, seed, options.budget)
                    with options.results.open("a") as file:
                        file.write(json.dumps(run) + "\n")
    report([r for r in done(options.results) if r["budget"] == options.budget], options.budget)


if __name__ == "__main__":
    main()
