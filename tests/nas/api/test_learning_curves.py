"""`nas.search` of objectives that train: hopeless trainings end early, and no answer is lost."""

import numpy as np
import pytest

import nas
from nas.api.learning_curve import LearningCurve, Training
from nas.evaluation.evaluation import STOPPED, EvaluationError
from nas.facts.metric import MetricWords
from tests.nas.api.toys import error, toy_space

SPACE = toy_space()
EPOCHS = 20
TRAINED = Training(EPOCHS, "families")


def losses(picks):
    """A curve that falls to the error of a network by a power law, and the other way up to it."""
    return error(picks) + 30 * np.arange(1.0, EPOCHS + 1) ** -1.0


def searched(train, **further):
    given = {"budget": 24, "searcher": "random", "batch": 4, "epochs": EPOCHS, **further}
    return nas.search(SPACE, train, **given)


def test_hopeless_trainings_end_early_and_the_best_network_is_found_all_the_same():
    seen = []

    def train(picks, curve):
        for loss in losses(picks):
            curve.report(loss)
            if curve.hopeless:
                break
        seen.append(len(curve.losses))
        return losses(picks)[-1]

    study = searched(train, curves="families")
    whole = nas.search(SPACE, lambda p: losses(p)[-1], budget=24, searcher="random", batch=4)
    assert sum(seen) < 0.6 * EPOCHS * len(seen)
    assert study.best.picks == whole.best.picks
    stopped = [one for one in study.measured.evaluations if STOPPED in one.metrics]
    assert len(stopped) == sum(count < EPOCHS for count in seen) > 5
    assert not any(one.complete for one in stopped)
    fronts = {one.genotype for one in study.networks} - {one.genotype for one in stopped}
    assert {tuple(g) for g in study.front()["genotype"]} <= fronts


def test_a_figure_that_rises_is_judged_the_other_way_round():
    curve = LearningCurve(TRAINED, MetricWords("accuracy", "%", best=100), hurdle=10.0)
    for share in np.arange(1.0, 6):
        curve.report(80 - 30 / share)
    assert curve.hopeless
    assert curve.stopped["error"] >= 10.0
    assert curve.stopped[STOPPED] == 5
    better = LearningCurve(TRAINED, MetricWords("accuracy", "%", best=100), hurdle=10.0)
    for share in np.arange(1.0, 6):
        better.report(99 - 30 / share)
    assert not better.hopeless


def test_without_a_rival_or_at_the_last_epoch_nothing_is_hopeless():
    alone = LearningCurve(TRAINED, MetricWords("error"))
    for loss in np.linspace(9, 8, EPOCHS):
        alone.report(loss)
    assert not alone.hopeless
    assert alone.stopped is None


def test_a_training_that_goes_on_to_its_end_counts_as_whole():
    curve = LearningCurve(TRAINED, MetricWords("error"), hurdle=1.0)
    for loss in np.linspace(9, 8, EPOCHS):
        curve.report(loss)
    assert curve.hopeless
    assert curve.stopped is None


@pytest.mark.parametrize("figure", [np.nan, "0.5", True, None])
def test_what_is_no_figure_of_an_epoch_is_refused(figure):
    with pytest.raises(ValueError, match="finite number"):
        LearningCurve(TRAINED, MetricWords("error")).report(figure)


def test_more_epochs_than_were_said_end_the_search():
    def train(_picks, curve):
        for _ in range(EPOCHS + 1):
            curve.report(1.0)
        return 1.0

    with pytest.raises(EvaluationError, match="a training has 20 epochs"):
        searched(train)


def test_trainings_that_cannot_be_judged_are_refused():
    with pytest.raises(ValueError, match="epochs is at least 4, given 3"):
        searched(lambda _p, _c: 1.0, epochs=3)
    with pytest.raises(ValueError, match="returns no size"):
        searched(lambda _p, _c: 1.0, objectives="size")
    with pytest.raises(ValueError, match="there is no curve 'magic'"):
        searched(lambda _p, _c: 1.0, curves="magic")
