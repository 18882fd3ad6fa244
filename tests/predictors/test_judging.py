import numpy as np
import pytest

from nas.testing.predictor import loss_of
from nas.testing.searcher import chain, picked
from predictors.calibrated import Calibrated
from predictors.features import OneHot
from predictors.judging import Judgement, drawn, judged, judgement, ranking
from predictors.ridge import Ridge


def test_intervals_are_counted_and_variance_is_explained():
    losses = np.arange(20.0)
    mean = losses + np.where(np.arange(20) < 4, 3.0, 1.0)
    found = judgement(mean, np.full(20, 1.0), losses, cost=None)
    assert found.held == pytest.approx(16 / 20)
    assert found.held_best == 0  # the best two are off by 3
    assert found.r2 == pytest.approx(1 - (4 * 9 + 16) / 20 / losses.var())
    assert np.isnan(found.within)


def test_a_constant_prediction_and_constant_losses_have_no_order():
    ones = np.ones(20)
    found = judgement(ones, ones, ones, cost=np.arange(20.0))
    assert np.isnan([found.tau, found.within, found.r2]).all()
    assert found.held == found.held_best == 1


def test_a_cost_ranks_the_dearest_first():
    cost = np.arange(40.0)
    assert ranking(cost, -cost, cost=cost).tau == pytest.approx(1)
    assert ranking(cost, cost, cost=None).tau == pytest.approx(-1)


def test_learned_and_judged_networks_are_different():
    learned, others = drawn(60, count=20, seed=3, judged=25)
    assert len(learned) == 20
    assert len(others) == 25
    assert not {*learned.tolist()} & {*others.tolist()}
    with pytest.raises(ValueError, match="learn at most 50"):
        drawn(60, count=55, seed=0, judged=5)


def test_a_good_predictor_is_judged_good():
    space = chain(depth=4)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 300), axis=0)
    losses, cost = loss_of(rows), picked(rows)
    predictor = Calibrated(space, Ridge(OneHot(space).compact))
    places = drawn(len(rows), count=60, seed=0, judged=200)
    found = judged(predictor, rows, losses, places=places, cost=cost)
    assert found.tau > 0.8
    assert found.within > 0.6
    assert found.held > 0.8
    assert Judgement.mean([found, found]) == found
