"""The inner search: candidates that it scores per second of one core, and the front it finds.

    python -m benchmarks.inner_search --rounds 10

A candidate is scored by a predictor, fitted to 250 networks, and by two compiled costs. The space
is residual with about 60 choices, and the population is 200. A plain NSGA-II of pymoo on the same
predictor and costs takes turns with our search: once with our default numbers of children and
tournament entrants, once with those of NSGA-II. Seconds are those of the process. Rates are medians
over rounds, each with a seed of its own. The hypervolume is that of all scored candidates, about
20,000, as a share of that of all runs together; the reference point is the worst corner of their
fronts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.indicators.hv import HV
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize
from pymoo.util.nds.non_dominated_sorting import find_non_dominated

from nas.problem.goals import Goal, Problem
from nas.search import inner
from nas.search.guided import default_predictor
from predictors.features import OneHot
from predictors.predictor import Predictor
from predictors.ridge import Ridge
from search_spaces.costs import SpaceKernels, bitops, model_bytes
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual

POPULATION, GENERATIONS, MEASURED = 200, 100, 250
OURS = {
    "ours": inner.Effort(POPULATION, GENERATIONS),
    "ours, brood 1, tournaments of 2": inner.Effort(POPULATION, GENERATIONS, 1, 2),
}


@dataclass(frozen=True)
class Run:
    """One run: candidates per second, front of all scored candidates, shares of time by part."""

    rate: float
    front: np.ndarray
    shares: dict[str, float] = field(default_factory=dict)


class Clock:
    """A clock that adds up the time that wrapped functions take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, wrapped so that its time is added under `name`."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.process_time() - start

        return wrapped


def made_problem() -> Problem:
    """A residual space of about 60 choices with BitOPs and bytes as objectives."""
    space = residual(
        inputs=(Input("image", (3, 32, 32)),),
        output=(10,),
        image_sizes=(24, 32),
        widths=((16, 24, 32), (16, 24, 32), (32, 48, 64), (64, 96, 128)),
        depths=((1, 2, 3),) * 3,
        kernels=(3, 5),
        policy=Policy(weight_bits=(2, 4, 8), activation_bits=(4, 8), fineness="layer"),
    )
    kernels = SpaceKernels(space)
    costs = {"bitops": kernels.compile(bitops), "model_bytes": kernels.compile(model_bytes)}
    return Problem(space, (Goal("device", costs, ("bitops", "model_bytes")),))


def ours(problem: Problem, predictor: Predictor, effort: inner.Effort, *, seed: int) -> Run:
    """A run of our inner search, timed by part."""
    clock, goal = Clock(), problem.goals[0]
    timed_goal = Goal(
        goal.name,
        {name: clock.timed("costs", cost) for name, cost in goal.costs.items()},
        goal.objectives,
    )
    predict = clock.timed("prediction", predictor.predict)
    plain = inner.front_ranks
    inner.front_ranks = clock.timed("pymoo's sort", plain)
    start = time.process_time()
    _, scores = inner.evolve(
        problem.space,
        timed_goal,
        lambda rows: predict(rows)[0],
        seeds=problem.space.sample_array(np.random.default_rng([seed, 1]), POPULATION),
        effort=effort,
        rng=np.random.default_rng(seed),
    )
    seconds = time.process_time() - start
    inner.front_ranks = plain
    clock.seconds["variation and survival"] = seconds - sum(clock.seconds.values())
    shares = {part: spent / seconds for part, spent in clock.seconds.items()}
    return Run(len(scores) / seconds, scores[find_non_dominated(scores)], shares)


def plain_pymoo(problem: Problem, predictor: Predictor, *, seed: int) -> Run:
    """A run of pymoo's own NSGA-II, with integer genes."""
    space, goal = problem.space, problem.goals[0]
    scored: list[np.ndarray] = []

    class Inner(PymooProblem):
        def __init__(self) -> None:
            size = len(space.choices)
            super().__init__(n_var=size, n_obj=3, xl=np.zeros(size), xu=space.counts - 1, vtype=int)

        def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            rows = space.canonical_array(x.astype(np.int64))
            out["F"] = np.column_stack([predictor.predict(rows)[0], goal.values(rows)])
            scored.append(out["F"])

    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=UniformCrossover(),  # pyright: ignore[reportArgumentType]
        mutation=PM(vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    start = time.process_time()
    minimize(Inner(), algorithm, ("n_gen", GENERATIONS), seed=seed)
    seconds = time.process_time() - start
    scores = np.concatenate(scored)
    return Run(len(scores) / seconds, scores[find_non_dominated(scores)])


def compared(problem: Problem, predictor: Predictor, rounds: int) -> dict[str, list[Run]]:
    """The runs of every kind of search, `rounds` of each, in turns."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for seed in range(rounds):
        for name, effort in OURS.items():
            runs[name].append(ours(problem, predictor, effort, seed=seed))
        runs["plain pymoo"].append(plain_pymoo(problem, predictor, seed=seed))
    return runs


def volumes(runs: dict[str, list[Run]]) -> dict[str, list[float]]:
    """The share of the hypervolume of all fronts together that each run found."""
    together = np.concatenate([run.front for group in runs.values() for run in group])
    low, high = together.min(axis=0), together.max(axis=0)
    volume: Any = HV(ref_point=np.ones(3))
    whole = volume((together - low) / (high - low))
    return {
        name: [volume((run.front - low) / (high - low)) / whole for run in group]
        for name, group in runs.items()
    }


def show(name: str, runs: dict[str, list[Run]]) -> None:
    """Print the lines of one predictor."""
    found, pymoo = volumes(runs), np.median([run.rate for run in runs["plain pymoo"]])
    for way, group in runs.items():
        rate, parts = np.median([run.rate for run in group]), group[0].shares
        split = ", ".join(f"{p} {np.mean([run.shares[p] for run in group]):.0%}" for p in parts)
        volume = f"{np.mean(found[way]):.3f} ± {np.std(found[way], ddof=1):.3f}"
        print(f"| {name} | {way} | {rate:,.0f} | {rate / pymoo:.1f} | {volume} | {split} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    problem = made_problem()
    rows = problem.space.sample_array(np.random.default_rng(2), MEASURED)
    losses = 50 - rows @ np.sin(np.arange(rows.shape[1])) ** 2
    predictors: dict[str, Predictor] = {
        "Gaussian process": default_predictor(problem),
        "ridge": Ridge(OneHot(problem.space).compact),
    }
    print(f"{len(problem.space.choices)} choices, population {POPULATION}, one core\n")
    print("| predictor | evolution | candidates per s | times pymoo | hypervolume | by part |")
    print("|---|---|---|---|---|---|")
    for name, predictor in predictors.items():
        predictor.fit(rows, losses)
        show(name, compared(problem, predictor, rounds))


if __name__ == "__main__":
    main()
