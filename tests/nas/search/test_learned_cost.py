from dataclasses import replace

import numpy as np
import pytest

from nas.evaluation.measurements import Measurements
from nas.problem.front import measured_front
from nas.problem.goals import Goal, Measured
from nas.search.evolution import Evolution
from nas.search.guided import Guided
from nas.search.learned_cost import with_learned_costs
from nas.search.random import RandomSearch
from nas.testing.searcher import (
    SearcherContract,
    chain,
    evaluated,
    picked,
    problem_of,
    run,
)
from tests.nas.search.test_searchers import QUICK, area


def with_unknown_cost(problem):
    goal = Goal("device", {"picks": Measured("picks")}, ("picks",), problem.goals[0].limits)
    return replace(problem, goals=(goal,))


class TestGuidedLearnsCosts(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: Guided(with_unknown_cost(problem), seed=seed, settings=QUICK)


def test_a_cost_that_is_learned_serves_almost_as_well_as_one_that_is_known():
    problem = problem_of(chain(depth=9))
    known = run(Guided(problem, seed=0, settings=QUICK), *[10] * 8)
    learned = run(Guided(with_unknown_cost(problem), seed=0, settings=QUICK), *[10] * 8)
    random = run(RandomSearch(problem.space, seed=0), *[10] * 8)
    assert area(problem, random) < area(problem, learned)
    assert area(problem, learned) > 0.95 * area(problem, known)


def test_a_learned_cost_is_exact_where_measured_and_close_elsewhere():
    space = chain(depth=6)
    goals, learned = with_learned_costs(with_unknown_cost(problem_of(space)).goals, space)
    cost = learned["picks"]
    drawn = list({space.sample(np.random.default_rng(seed)) for seed in range(80)})
    told = Measurements.of(evaluated(drawn), space)
    cost.fit(told)
    np.testing.assert_array_equal(goals[0].values(told.rows)[:, 0], picked(told.rows))
    others = space.sample_array(np.random.default_rng(1), 500)
    assert np.abs(cost(others) - picked(others)).mean() < 0.1 * np.std(picked(others))


def test_a_learned_cost_that_was_not_measured_is_refused():
    searcher = Guided(with_unknown_cost(problem_of(chain(depth=5))), seed=0, settings=QUICK)
    told = evaluated(searcher.ask(30))
    searcher.tell([replace(one, metrics={"error": one.error}) for one in told])
    with pytest.raises(ValueError, match="no metric 'picks'"):
        searcher.ask(1)


def test_a_front_over_a_measured_cost_is_that_over_the_same_cost_computed():
    problem = with_unknown_cost(problem_of(chain(depth=5)))
    searchers = Evolution(problem, seed=0), Evolution(problem_of(problem.space), seed=0)
    assert run(searchers[0], 50, 20, 20) == run(searchers[1], 50, 20, 20)
    told = evaluated(RandomSearch(problem.space, seed=0).ask(12))
    known, measured = problem_of(problem.space).goals[0], Measurements.of(told, problem.space)
    assert measured_front(problem.goals[0], measured) == measured_front(known, measured)


def test_a_measured_cost_of_a_network_that_was_not_evaluated_is_refused():
    problem = with_unknown_cost(problem_of(chain(depth=5)))
    measured = Measurements.of(evaluated([problem.space.smallest]), problem.space)
    answered = problem.goals[0].answered(measured)
    assert answered.values(measured.rows).tolist() == [[1.0]]
    with pytest.raises(ValueError, match="not among the 1 evaluated networks"):
        answered.values(np.array([problem.space.largest]))
