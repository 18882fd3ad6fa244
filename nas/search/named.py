"""Searchers by the names that recipes and benchmarks call them.

A searcher's module, and with it the libraries that the searcher needs, is loaded when one is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from nas.problem.goals import Problem
from nas.search.method_names import METHOD_NAMES
from nas.search.searcher import Searcher

Make = Callable[[Problem, int], Searcher]

_POPULATION = 20
_SAMPLERS = ("optuna-tpe", "optuna-tpe-multivariate", "optuna-nsga2")


def _maker(module: str, name: str, **options: Any) -> Make:
    """Makes the class of that name in a module of this room, loading the module then."""

    def make(problem: Problem, seed: int) -> Searcher:
        made = getattr(importlib.import_module(f"nas.search.{module}"), name)
        return made(problem, seed=seed, **options)

    return make


def _random(problem: Problem, seed: int) -> Searcher:
    from nas.search.random import RandomSearch

    return RandomSearch(problem.space, seed=seed, metric=problem.metric)


def _differentiable(problem: Problem, seed: int) -> Searcher:
    raise ValueError(
        f"searcher 'differentiable', asked for {problem.space.name!r} and seed {seed}, follows the "
        "gradient of a trained supernet; name it in a recipe, or take another searcher here"
    )


SEARCHERS: dict[str, Make] = {
    "guided": _maker("guided", "Guided"),
    "random": _random,
    **{m: _maker("evolution", "Evolution", population=_POPULATION, method=m) for m in METHOD_NAMES},
    "regularized": _maker("regularized", "RegularizedEvolution"),
    "local": _maker("local", "LocalSearch"),
    "linas": _maker("linas", "Linas"),
    "boshnas": _maker("boshnas", "Boshnas"),
    "policy-gradient": _maker("policy_gradient", "PolicyGradient"),
    "differentiable": _differentiable,
    **{sampler: _maker("samplers", "OptunaSearch", sampler=sampler) for sampler in _SAMPLERS},
}
"""Name -> a new searcher for a problem and a seed, all at their defaults.

`differentiable` raises `ValueError`: only the steps of a run can give it a supernet.
"""
