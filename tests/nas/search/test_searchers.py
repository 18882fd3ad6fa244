import time

import numpy as np
import pytest

from nas.objectives import Goal, Problem
from nas.search.evolution import Nsga2
from nas.search.front import hypervolume
from nas.search.guided import Guided, Settings
from nas.search.inner import Effort
from nas.search.random import RandomSearch
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess
from predictors.ridge import Ridge
from tests.contracts.searcher import (
    SearcherContract,
    chain,
    evaluated,
    picked,
    problem_of,
    rugged,
    run,
)

QUICK = Settings(initial=10, effort=Effort(population=60, generations=8))


class TestRandom(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: RandomSearch(problem.space, seed=seed)


class TestNsga2(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: Nsga2(problem, seed=seed, population=12)


class TestGuided(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: Guided(problem, seed=seed, settings=QUICK)


class TestGuidedByRidge(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: Guided(
            problem, seed=seed, predictor=Ridge(OneHot(problem.space)), settings=QUICK
        )


def area(problem, found):
    rows = np.array(found)
    rows = rows[problem.goals[0].violation(rows) == 0]
    points = np.column_stack([rugged(rows), picked(rows)])
    return hypervolume(points, np.array([60.0, 40.0]))


def test_guided_beats_nsga2_beats_random():
    problem = problem_of(chain(depth=9))
    shares = []
    for seed in range(3):
        random = run(RandomSearch(problem.space, seed=seed), *[10] * 8)
        nsga2 = run(Nsga2(problem, seed=seed, population=20), *[10] * 8)
        guided = run(Guided(problem, seed=seed, settings=QUICK), *[10] * 8)
        shares.append([area(problem, found) for found in (random, nsga2, guided)])
    random, nsga2, guided = np.mean(shares, axis=0)
    assert random < nsga2 < guided
    assert guided > 1.08 * random


def test_limits_draw_nsga2_within():
    problem = problem_of(chain(depth=9), picks=9.0)
    found = np.array(run(Nsga2(problem, seed=0, population=16), *[10] * 8))
    anyway = picked(problem.space.sample_array(np.random.default_rng(0), 1000)) > 9.0
    assert (picked(found)[40:] > 9.0).mean() < 0.8 * anyway.mean()


def test_guided_never_leaves_the_limits():
    problem = problem_of(chain(depth=9), picks=9.0)
    found = np.array(run(Guided(problem, seed=0, settings=QUICK), *[10] * 8))
    assert (picked(found) <= 9.0).all()


def test_networks_that_a_device_cannot_run_are_left_for_last():
    space = chain(depth=2, widths=(4, 8))

    def cost(rows):
        return np.where(rows[:, 1] == 0, picked(rows), np.inf)

    problem = Problem(space, (Goal("device", {"ms": cost}, ("ms",)),))
    runnable = int(np.isfinite(cost(space.sample_array(np.random.default_rng(0), 500))).any())
    assert runnable
    found = np.array(run(Guided(problem, seed=0, settings=QUICK), *[6] * 9))
    assert len(found) == space.size
    can_run = np.isfinite(cost(found))
    assert can_run[: can_run.sum()].all()


def test_several_goals_and_costs_share_one_search():
    space = chain(depth=6)

    def kernels(rows):
        return 1.0 + rows[:, 2::2].sum(axis=1)

    goals = (
        Goal("a", {"picks": picked}, ("picks",)),
        Goal("b", {"picks": picked, "kernels": kernels}, ("picks", "kernels"), {"kernels": 6.0}),
    )
    problem = Problem(space, goals)
    for searcher in (Guided(problem, seed=0, settings=QUICK), Nsga2(problem, seed=0)):
        found = run(searcher, 10, 10, 10)
        assert len(set(found)) == 30


def test_guided_begins_with_what_it_is_given():
    problem = problem_of(chain(depth=5))
    given = [problem.space.sample(np.random.default_rng(seed)) for seed in range(5)]
    searcher = Guided(problem, seed=0, initial=given, settings=QUICK)
    distinct = list(dict.fromkeys(given))
    assert searcher.ask(5)[: len(distinct)] == distinct


def test_the_first_batch_spans_the_costs():
    problem = problem_of(chain(depth=7))
    first = np.array(Guided(problem, seed=0).ask(20))
    costs = picked(first)
    assert costs.min() == 1.0
    assert costs.max() == picked(np.array([problem.space.largest]))[0]
    assert np.diff(np.sort(costs)).max() < 0.3 * np.ptp(costs)


def test_guided_survives_constant_losses():
    problem = problem_of(chain(depth=5))
    searcher = Guided(problem, seed=0, settings=QUICK)
    for _ in range(4):
        asked = searcher.ask(8)
        assert len(asked) == 8
        searcher.tell([_flat(evaluation) for evaluation in evaluated(asked)])


def _flat(evaluation):
    return type(evaluation)(evaluation.genotype, {"error": 5.0}, 0, 0.0, "here")


@pytest.mark.slow
def test_an_ask_of_a_large_space_takes_no_longer_than_a_second():
    problem = problem_of(chain(depth=30))
    searcher = Guided(problem, seed=0)
    rows = np.unique(problem.space.sample_array(np.random.default_rng(0), 250), axis=0)
    searcher.tell(evaluated([tuple(row) for row in rows.tolist()]))
    searcher.ask(20)
    start = time.process_time()
    searcher.ask(10)
    assert time.process_time() - start < 2.0


def test_a_device_that_runs_nothing_does_not_disturb_the_others():
    goals = (
        Goal("a", {"picks": picked}, ("picks",)),
        Goal("b", {"ms": lambda rows: np.full(len(rows), np.inf)}, ("ms",)),
    )
    problem = Problem(chain(depth=5), goals)
    predictor = GaussianProcess(OneHot(problem.space))
    searcher = Guided(problem, seed=0, predictor=predictor, settings=QUICK)
    assert len(set(run(searcher, 10, 10, 10))) == 30
