"""Searchers by the names that recipes and benchmarks call them."""

from __future__ import annotations

import functools
from collections.abc import Callable

from nas.problem.goals import Problem
from nas.search.boshnas import Boshnas
from nas.search.evolution import METHODS, Evolution
from nas.search.guided import Guided
from nas.search.linas import Linas
from nas.search.local import LocalSearch
from nas.search.policy_gradient import PolicyGradient
from nas.search.random import RandomSearch
from nas.search.regularized import RegularizedEvolution
from nas.search.samplers import SAMPLERS, OptunaSearch
from nas.search.searcher import Searcher

Make = Callable[[Problem, int], Searcher]

_POPULATION = 20


def _evolution(problem: Problem, seed: int, *, method: str) -> Searcher:
    return Evolution(problem, seed=seed, population=_POPULATION, method=method)


def _optuna(problem: Problem, seed: int, *, sampler: str) -> Searcher:
    return OptunaSearch(problem, seed=seed, sampler=sampler)


def _differentiable(problem: Problem, seed: int) -> Searcher:
    raise ValueError(
        f"searcher 'differentiable', asked for {problem.space.name!r} and seed {seed}, follows the "
        "gradient of a trained supernet; name it in a recipe, or take another searcher here"
    )


SEARCHERS: dict[str, Make] = {
    "guided": lambda problem, seed: Guided(problem, seed=seed),
    "random": lambda problem, seed: RandomSearch(problem.space, seed=seed, metric=problem.metric),
    **{method: functools.partial(_evolution, method=method) for method in METHODS},
    "regularized": lambda problem, seed: RegularizedEvolution(problem, seed=seed),
    "local": lambda problem, seed: LocalSearch(problem, seed=seed),
    "linas": lambda problem, seed: Linas(problem, seed=seed),
    "boshnas": lambda problem, seed: Boshnas(problem, seed=seed),
    "policy-gradient": lambda problem, seed: PolicyGradient(problem, seed=seed),
    "differentiable": _differentiable,
    **{sampler: functools.partial(_optuna, sampler=sampler) for sampler in SAMPLERS},
}
"""Name -> a new searcher for a problem and a seed, all at their defaults.

`differentiable` raises `ValueError`: only the steps of a run can give it a supernet.
"""
