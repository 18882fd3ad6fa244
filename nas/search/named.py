"""The table of searchers, by the names in recipes and benchmarks.

The module of a searcher, and the libraries it imports, are loaded when the searcher is made.
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
    """A function that makes a searcher of class `name`, and loads `nas.search.MODULE` for this."""

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
"""Name -> a function that makes a new searcher, with default settings, for a problem and a seed.

`differentiable` raises `ValueError`: only the steps of a run can give this searcher a supernet.
"""
