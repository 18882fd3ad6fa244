"""An evaluation holds finite numbers; measurements are evaluations as arrays."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation, EvaluationError
from nas.evaluation.measurements import Measurements
from nas.testing.searcher import chain, evaluated, picked, rugged
from search_spaces.space import as_genotypes

SPACE = chain(depth=5)


def test_an_evaluation_holds_numbers_of_python_whatever_it_was_made_from():
    genotype = tuple(np.array([1, 0, 2]))
    made = Evaluation(genotype, {"error": np.float32(0.1), "ms": 3}, np.int64(1), 0, "here")
    assert made == Evaluation(
        (1, 0, 2), {"error": float(np.float32(0.1)), "ms": 3.0}, 1, 0.0, "here"
    )
    assert made.error == float(np.float32(0.1))
    assert [type(pick) for pick in made.genotype] == [int, int, int]
    assert [type(value) for value in (*made.metrics.values(), made.seconds)] == [float] * 3
    assert type(made.seed) is int
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["error", "loss"])
def test_a_metric_that_is_not_finite_is_refused(metric, value):
    metrics = {"error": 1.0, "loss": 1.0, metric: value}
    with pytest.raises(EvaluationError, match=f"genotype \\(0, 1\\) gave .*{metric}.*divergence"):
        Evaluation((0, 1), metrics, 0, 0.0, "here")


def test_an_evaluation_without_an_error_is_refused():
    with pytest.raises(EvaluationError, match=r"\['loss'\].*must give 'error'"):
        Evaluation((0, 1), {"loss": 1.0}, 0, 0.0, "here")


@pytest.mark.parametrize(("seed", "seconds"), [(-1, 0.0), (0, -1.0), (0, math.nan), (0, math.inf)])
def test_a_seed_or_a_time_below_nothing_is_refused(seed, seconds):
    with pytest.raises(EvaluationError, match="both from 0 on"):
        Evaluation((0, 1), {"error": 1.0}, seed, seconds, "here")


@pytest.fixture
def measured():
    rows = np.unique(SPACE.sample_array(np.random.default_rng(0), 12), axis=0)
    made = evaluated(as_genotypes(rows))
    made[2] = replace(made[2], answers=Answers.of(np.full(3, 100.0), 4))
    return Measurements.of(made, SPACE)


def test_measurements_are_columns_in_the_order_of_the_evaluations(measured):
    assert as_genotypes(measured.rows) == [one.genotype for one in measured.evaluations]
    np.testing.assert_array_equal(measured.losses, rugged(measured.rows))
    np.testing.assert_array_equal(measured.metric("picks"), picked(measured.rows))
    assert np.flatnonzero(~measured.complete).tolist() == [2]


@pytest.mark.parametrize(
    "places", [slice(3, 7), np.array([5, 0]), np.arange(12) % 3 == 0, slice(0, 0)]
)
def test_some_of_the_measurements_keep_all_columns_together(measured, places):
    some = measured[places]
    assert some.evaluations == tuple(np.array(measured.evaluations, dtype=object)[places])
    again = Measurements.of(some.evaluations, SPACE)
    np.testing.assert_array_equal(some.rows, again.rows)
    np.testing.assert_array_equal(some.losses, again.losses)
    np.testing.assert_array_equal(some.complete, again.complete)


def test_places_say_where_a_genotype_stands_if_anywhere(measured):
    drawn = as_genotypes(SPACE.sample_array(np.random.default_rng(1), 99))
    stranger = next(g for g in drawn if g not in as_genotypes(measured.rows))
    asked = np.stack([measured.rows[4], stranger, measured.rows[0]])
    assert measured.places(asked).tolist() == [4, -1, 0]


def test_no_evaluations_are_arrays_too():
    nothing = Measurements.of([], SPACE)
    assert len(nothing) == 0
    assert nothing.rows.shape == (0, len(SPACE.choices))
    assert nothing[nothing.complete].losses.shape == (0,)


def test_a_metric_that_was_not_measured_is_refused(measured):
    with pytest.raises(ValueError, match="no metric 'ms' among"):
        measured.metric("ms")
    with pytest.raises(ValueError, match="no metric 'accuracy' among"):
        Measurements.of(measured.evaluations, SPACE, metric="accuracy")
