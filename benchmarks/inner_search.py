"""Candidates that the inner search scores per second of one core, and where the time goes.

A candidate is scored by the default predictor, fitted to 250 networks, and two compiled costs, in
a residual space of about 60 choices at a population of 200. A plain pymoo NSGA-II on the same
predictor and costs stands beside it. Seconds are those of the process, so other work on the machine
does not count. Run as `python -m benchmarks.inner_search`.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

from nas.objectives import Goal, Problem
from nas.search import inner
from nas.search.guided import default_predictor
from predictors.base import Predictor
from predictors.features import OneHot
from predictors.ridge import Ridge
from search_spaces.costs import SpaceKernels, bitops, model_bytes
from search_spaces.policy import Policy
from search_spaces.residual import residual

POPULATION, GENERATIONS, MEASURED = 200, 100, 250


class Clock:
    """Adds up the time that wrapped functions take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, its time noted under `name`."""

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
        channels=3,
        classes=10,
        image_sizes=(24, 32),
        widths=((16, 24, 32), (16, 24, 32), (32, 48, 64), (64, 96, 128)),
        depths=((1, 2, 3),) * 3,
        kernels=(3, 5),
        policy=Policy(weight_bits=(2, 4, 8), activation_bits=(4, 8), fineness="layer"),
    )
    kernels = SpaceKernels(space)
    costs = {"bitops": kernels.compile(bitops), "model_bytes": kernels.compile(model_bytes)}
    return Problem(space, (Goal("device", costs, ("bitops", "model_bytes")),))


def ours(problem: Problem, predictor: Predictor) -> tuple[float, dict[str, float]]:
    """Candidates per second of the inner search, and seconds by part."""
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
    rows, _ = inner.evolve(
        problem.space,
        timed_goal,
        lambda rows: predict(rows)[0],
        seeds=problem.space.sample_array(np.random.default_rng(1), POPULATION),
        effort=inner.Effort(POPULATION, GENERATIONS),
        rng=np.random.default_rng(0),
    )
    seconds = time.process_time() - start
    inner.front_ranks = plain
    clock.seconds["variation and survival"] = seconds - sum(clock.seconds.values())
    return len(rows) / seconds, clock.seconds


def plain_pymoo(problem: Problem, predictor: Predictor) -> float:
    """Candidates per second of pymoo's own NSGA-II with integer genes."""
    space, goal = problem.space, problem.goals[0]

    class Inner(PymooProblem):
        def __init__(self) -> None:
            size = len(space.choices)
            super().__init__(n_var=size, n_obj=3, xl=np.zeros(size), xu=space.counts - 1, vtype=int)

        def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            rows = space.canonical_array(x.astype(np.int64))
            out["F"] = np.column_stack([predictor.predict(rows)[0], goal.values(rows)])

    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=UniformCrossover(),  # pyright: ignore[reportArgumentType]
        mutation=PM(vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    start = time.process_time()
    done: Any = minimize(Inner(), algorithm, ("n_gen", GENERATIONS), seed=0)
    return done.algorithm.evaluator.n_eval / (time.process_time() - start)


def main() -> None:
    """Print the tables."""
    problem = made_problem()
    rows = problem.space.sample_array(np.random.default_rng(2), MEASURED)
    losses = 50 - rows @ np.sin(np.arange(rows.shape[1])) ** 2
    predictors: dict[str, Predictor] = {
        "Gaussian process": default_predictor(problem),
        "ridge": Ridge(OneHot(problem.space).compact),
    }
    many = problem.space.sample_array(np.random.default_rng(3), 20_000)
    print(f"{len(problem.space.choices)} choices, population {POPULATION}, one core\n")
    print("| predictor | rows predicted per s | candidates per s | plain pymoo | by part |")
    print("|---|---|---|---|---|")
    for name, predictor in predictors.items():
        predictor.fit(rows, losses)
        predictor.predict(many)
        start = time.process_time()
        predictor.predict(many)
        rate = len(many) / (time.process_time() - start)
        speed, parts = ours(problem, predictor)
        total = sum(parts.values())
        shares = ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in parts.items())
        pymoo = plain_pymoo(problem, predictor)
        print(f"| {name} | {rate:,.0f} | {speed:,.0f} | {pymoo:,.0f} | {shares} |")


if __name__ == "__main__":
    main()
