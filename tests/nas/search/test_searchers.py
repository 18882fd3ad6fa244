import time
from dataclasses import replace

import numpy as np
import pytest

from nas.evaluation.measurements import Measurements
from nas.problem.front import hypervolume, measured_front
from nas.problem.goals import Goal, Measured, Problem
from nas.search.boshnas import Boshnas, GraphEmbedding
from nas.search.differentiable import Differentiable
from nas.search.evolution import METHODS, Evolution
from nas.search.guided import Guided, Settings
from nas.search.inner import Effort, score
from nas.search.linas import Linas
from nas.search.local import LocalSearch
from nas.search.named import SEARCHERS, searcher_named
from nas.search.points import Scalar
from nas.search.policy_gradient import PolicyGradient
from nas.search.polish import polish
from nas.search.random import RandomSearch
from nas.search.regularized import RegularizedEvolution
from nas.search.samplers import SAMPLERS, OptunaSearch
from nas.testing.searcher import (
    SearcherContract,
    asynchronously,
    chain,
    evaluated,
    picked,
    problem_of,
    rugged,
    run,
    widths,
)
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess
from predictors.ridge import Ridge
from search_spaces.space import as_genotypes

QUICK = Settings(initial=10, effort=Effort(population=60, generations=8))


class TestRandom(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: RandomSearch(problem.space, seed=seed)


class TestEvolution(SearcherContract):
    @pytest.fixture(params=METHODS)
    def make(self, request):
        return lambda problem, seed: Evolution(
            problem, seed=seed, population=12, method=request.param
        )


class TestRegularizedEvolution(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: RegularizedEvolution(
            problem, seed=seed, population=12, sample=4
        )


class TestLocalSearch(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: LocalSearch(problem, seed=seed)


class TestLinas(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: Linas(problem, seed=seed, population=12, candidates=500)


class TestBoshnas(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: Boshnas(problem, seed=seed, initial=8)


class TestPolicyGradient(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: PolicyGradient(problem, seed=seed, initial=10)


def true_change(genotype, others, rng):
    """What a supernet would say, did its first order tell everything."""
    return 0.02 * (rugged(np.array(others)) - rugged(np.array([genotype])))


class TestDifferentiable(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: Differentiable(problem, seed=seed, exchange=true_change)


class TestOptuna(SearcherContract):
    @pytest.fixture(
        params=[
            name if name == "optuna-nsga2" else pytest.param(name, marks=pytest.mark.slow)
            for name in SAMPLERS
        ]
    )
    def make(self, request):
        return lambda problem, seed: OptunaSearch(problem, seed=seed, sampler=request.param)


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


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_small_space_whose_cost_is_measured_is_searched_to_its_end(size):
    space = widths(size)
    problem = Problem(space, (Goal("device", {"picks": Measured("picks")}, ("picks",)),))
    assert len(set(run(Guided(problem, seed=0, settings=QUICK), 5, 5, 5))) == size


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
        nsga2 = run(Evolution(problem, seed=seed, population=20), *[10] * 8)
        guided = run(Guided(problem, seed=seed, settings=QUICK), *[10] * 8)
        shares.append([area(problem, found) for found in (random, nsga2, guided)])
    random, nsga2, guided = np.mean(shares, axis=0)
    assert random < nsga2 < guided
    assert guided > 1.08 * random


def test_local_steps_find_the_best_of_an_additive_space_at_every_cost():
    space = chain(depth=12)
    goal = problem_of(space).goals[0]
    worth = 1 + np.sin(np.arange(len(space.choices))) ** 2

    def promise(rows):
        return -(rows @ worth)

    rng = np.random.default_rng(0)
    rows = space.sample_array(rng, 200)
    found, scores = rows, score(goal, promise, rows)
    for _ in range(3):
        found, scores = polish(space, goal, promise, rows=found, scores=scores, rng=rng)
    np.testing.assert_array_equal(scores, score(goal, promise, found))
    # All layers are there, so every further pick costs one and the dearest worth goes first.
    budget = 21 + picked(np.array([space.smallest]))[0]
    order = np.repeat(worth[1:], 2)
    best = worth[0] * 11 + np.sort(order)[::-1][:10].sum()
    assert -scores[scores[:, 1] <= budget, 0].min() >= 0.99 * best


def test_limits_draw_nsga2_within():
    problem = problem_of(chain(depth=9), picks=9.0)
    found = np.array(run(Evolution(problem, seed=0, population=16), *[10] * 8))
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
    for searcher in (Guided(problem, seed=0, settings=QUICK), Evolution(problem, seed=0)):
        found = run(searcher, 10, 10, 10)
        assert len(set(found)) == 30


def test_limits_on_several_devices_are_kept_by_what_is_proposed_and_by_every_front():
    def kernels(rows):
        return 1.0 + rows[:, 2::2].sum(axis=1)

    costs = {"picks": picked, "kernels": kernels}
    goals = (
        Goal("a", costs, ("picks",), {"picks": 12.0, "kernels": 4.0}),
        Goal("b", costs, ("picks", "kernels"), {"kernels": 2.0}),
    )
    problem = Problem(chain(depth=9), goals)
    searcher = Guided(problem, seed=0, settings=QUICK)
    found = np.array(run(searcher, *[10] * 6))
    allowed = [(picked(found) <= 12.0) & (kernels(found) <= 4.0), kernels(found) <= 2.0]
    assert np.any(allowed, axis=0).all()
    for goal, within in zip(goals, allowed, strict=True):
        measured = Measurements.of(evaluated(as_genotypes(found)), problem.space)
        front = measured_front(goal, measured)
        kept = {tuple(row) for row in found[within].tolist()}
        assert front
        assert {evaluation.genotype for evaluation in front} <= kept


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


def test_exploration_is_a_range_above_zero():
    for given in ((0.0, 1.0), (1.0, 0.5)):
        with pytest.raises(ValueError, match="largest share above 0"):
            Settings(exploration=given)


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


def test_every_method_and_sampler_has_a_name_in_recipes():
    assert {*METHODS, *SAMPLERS} <= {*SEARCHERS}


@pytest.mark.parametrize("name", SEARCHERS)
def test_every_name_makes_a_searcher(name):
    if name == "age-moea":
        pytest.importorskip("numba")
    if name != "differentiable":
        assert len(searcher_named(name, problem_of(chain(depth=5)), seed=0).ask(3)) == 3


def test_a_table_has_no_gradient_to_follow():
    with pytest.raises(ValueError, match="gradient of a trained supernet"):
        searcher_named("differentiable", problem_of(chain(depth=2)), seed=0)


def test_an_option_that_is_better_at_no_cost_is_what_gradients_lead_to():
    space = chain(depth=5)
    kernels = [space.column[f"layer{layer}.kernel"] for layer in range(5)]
    widths = [space.column[f"layer{layer}.width"] for layer in range(5)]

    def loss(rows):
        is_off = (rows[:, kernels] != 1) & space.active_array(rows)[:, kernels]
        return 0.1 * is_off.sum(axis=1) - 0.05 * rows[:, widths].sum(axis=1)

    goal = Goal("device", {"width": lambda rows: 1.0 + rows[:, widths].sum(axis=1)}, ("width",))
    searcher = Differentiable(
        Problem(space, (goal,)),
        seed=0,
        exchange=lambda genotype, others, _: loss(np.array(others)) - loss(np.array([genotype])),
    )
    found = np.array(run(searcher, *[10] * 3)[10:])  # the first batch is random
    is_open = space.active_array(found)[:, kernels]
    assert (found[:, kernels] == 1)[is_open].mean() > 0.75


def test_a_device_that_cannot_run_most_networks_still_has_budgets():
    def cost(rows):
        return np.where(rows[:, 1] == 0, picked(rows), np.inf)

    problem = Problem(chain(depth=5), (Goal("device", {"ms": cost}, ("ms",)),))
    searcher = Differentiable(problem, seed=0, exchange=true_change)
    found = np.array(run(searcher, *[10] * 12))
    assert np.isfinite(cost(found[60:])).mean() > 0.6


def test_embedded_graphs_are_the_nearer_the_more_they_share():
    space = chain(depth=6)
    rng = np.random.default_rng(0)
    embed = GraphEmbedding(space, size=16, rng=rng)
    rows = [space.sample(rng) for _ in range(40)]
    near = [space.canonical((*row[:1], (row[1] + 1) % 3, *row[2:])) for row in rows]
    far = [space.sample(rng) for _ in rows]
    here = embed(rows)
    assert np.linalg.norm(embed(rows) - here) == 0
    one = np.linalg.norm(embed(near) - here, axis=1)
    other = np.linalg.norm(embed(far) - here, axis=1)
    assert np.mean(one < other) > 0.8


PEERS = {
    "nsga3": lambda problem: Evolution(problem, seed=0, population=20, method="nsga3"),
    "sms-emoa": lambda problem: Evolution(problem, seed=0, population=20, method="sms-emoa"),
    "age-moea": lambda problem: Evolution(problem, seed=0, population=20, method="age-moea"),
    "r-nsga2": lambda problem: Evolution(problem, seed=0, population=20, method="r-nsga2"),
    "regularized": lambda problem: RegularizedEvolution(problem, seed=0, population=20),
    "local": lambda problem: LocalSearch(problem, seed=0),
    "linas": lambda problem: Linas(problem, seed=0, population=20, candidates=1000),
    "policy": lambda problem: PolicyGradient(problem, seed=0),
    "boshnas": lambda problem: Boshnas(problem, seed=0),
    "differentiable": lambda problem: Differentiable(problem, seed=0, exchange=true_change),
    "tpe": lambda problem: OptunaSearch(problem, seed=0, sampler="optuna-tpe"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "tpe" else name for name in PEERS],
)
def test_what_is_proposed_later_is_dominated_by_fewer_random_networks(name):
    problem = problem_of(chain(depth=9))
    crowd = problem.space.sample_array(np.random.default_rng(1), 500)
    late = run(PEERS[name](problem), *[10] * 12)[80:]
    assert dominating(crowd, late) < 0.8 * dominating(crowd, crowd)


def test_the_first_population_sets_up_who_survives_however_few_are_told_at_once(monkeypatch):
    problem = problem_of(chain(depth=9))
    seen = []

    def survival(found, size):
        seen.append(len(found))
        return METHODS["nsga2"].survival(found, size)

    monkeypatch.setitem(METHODS, "noting", replace(METHODS["nsga2"], survival=survival))
    run(Evolution(problem, seed=0, population=12, method="noting"), 12, 12)
    assert seen == [12]
    asynchronously(
        Evolution(problem, seed=0, population=12, method="noting"), evaluations=40, workers=4
    )
    assert seen == [12, *range(1, 13)]


def dominating(crowd, rows):
    """The share of pairs in which one of the crowd is no worse than one of the rows."""
    others = np.column_stack([rugged(crowd), picked(crowd)])
    rows = np.array(rows)
    own = np.column_stack([rugged(rows), picked(rows)])
    return (others[None] <= own[:, None]).all(axis=2).mean()


def test_a_weighted_sum_prefers_what_dominates_and_what_is_within():
    rng = np.random.default_rng(0)
    found = rng.random((50, 3))
    worth = Scalar(found, rng)
    better = found * 0.9
    assert (worth(better, np.zeros((50, 1))) < worth(found, np.zeros((50, 1)))).all()
    assert worth(better, np.ones((50, 1))).min() > worth(found, np.zeros((50, 1))).max()
