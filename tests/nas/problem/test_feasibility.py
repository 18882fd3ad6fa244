"""Limits that cannot be met are found out before any work."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.problem.feasibility import ConstraintError, feasibility, least, share_feasible
from nas.problem.goals import Goal
from search_spaces.costs import compile_cost, macs, model_bytes
from search_spaces.ops import Input
from search_spaces.residual import residual
from search_spaces.space import SearchSpace


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        widths=((8, 16), (8, 16)),
        depths=((1, 2),),
    )


def _goal(space: SearchSpace, **limits: float) -> Goal:
    costs = {
        "macs": compile_cost(space, macs),
        "model_bytes": compile_cost(space, model_bytes),
        "shortfall": lambda genotypes: -compile_cost(space, macs)(genotypes) + 1e6,
    }
    return Goal("device", costs, ("macs",), limits)


def test_the_least_is_the_true_minimum(space: SearchSpace) -> None:
    sample = space.sample_array(np.random.default_rng(0), 20)
    smallest = compile_cost(space, macs)(np.array([space.smallest]))[0]
    assert least(compile_cost(space, macs), space, sample) == (smallest, space.smallest)


def test_descent_finds_what_the_sample_lacks(space: SearchSpace) -> None:
    sample = np.array([space.smallest])
    most = compile_cost(space, macs)(np.array([space.largest]))[0]
    value, genotype = least(lambda g: -compile_cost(space, macs)(g), space, sample)
    assert -value == most
    assert compile_cost(space, macs)(np.array([genotype]))[0] == most


def test_a_limit_that_can_be_met_gives_its_share(space: SearchSpace) -> None:
    sample = space.sample_array(np.random.default_rng(1), 400)
    median = float(np.median(compile_cost(space, macs)(sample)))
    found = feasibility(_goal(space, macs=median), space, rng=np.random.default_rng(2))
    assert 0.4 < found.share < 0.7
    assert found.least["macs"] < median
    assert share_feasible(_goal(space, macs=1.0), sample) == 0
    assert feasibility(_goal(space), space, rng=np.random.default_rng(2)).share == 1


def test_a_limit_below_the_least_names_it(space: SearchSpace) -> None:
    smallest = compile_cost(space, macs)(np.array([space.smallest]))[0]
    with pytest.raises(ConstraintError, match=rf"limits macs to 100, but .* {smallest:.6g}; raise"):
        feasibility(_goal(space, macs=100), space, rng=np.random.default_rng(0))


def test_limits_that_exclude_each_other_name_the_closest(space: SearchSpace) -> None:
    sample = space.sample_array(np.random.default_rng(1), 100)
    low, _ = least(compile_cost(space, macs), space, sample)
    goal = _goal(space, macs=low, shortfall=1e6 - 2 * low)
    with pytest.raises(ConstraintError, match=r"found to meet them together; the closest has macs"):
        feasibility(goal, space, rng=np.random.default_rng(0))


def test_a_target_that_runs_nothing_says_so(space: SearchSpace) -> None:
    goal = Goal("device", {"latency_ms": lambda g: np.full(len(g), math.inf)}, ("latency_ms",))
    with pytest.raises(ConstraintError, match="runs no subnet"):
        feasibility(goal, space, rng=np.random.default_rng(0))


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_a_limit_that_no_cost_can_be_below_is_refused(space: SearchSpace, limit: float) -> None:
    with pytest.raises(ValueError, match=r"limits \{'macs': .*\}.*above 0"):
        _goal(space, macs=limit)
