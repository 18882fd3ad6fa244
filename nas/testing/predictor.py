"""The contract of a predictor: give `predictor` as a fixture and inherit every test."""

import numpy as np
import pytest

from nas.testing.searcher import chain, widths
from predictors.predictor import Predictor
from predictors.rank import kendall_tau
from search_spaces.space import IntArray, SearchSpace


def loss_of(rows: IntArray) -> np.ndarray:
    """A loss that is additive in the picks, with a pairwise part."""
    weights = np.cos(np.arange(rows.shape[1])) + 1.2
    return 50 - 4 * rows @ weights + 2.0 * (rows[:, 0] * rows[:, -1])


class PredictorContract:
    """The tests of a predictor."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        return chain(depth=6)

    @pytest.fixture
    def predictor(self, space) -> Predictor:
        raise NotImplementedError("give the predictor under test")

    @pytest.fixture
    def rows(self, space) -> np.ndarray:
        return np.unique(space.sample_array(np.random.default_rng(1), 70), axis=0)

    @pytest.fixture
    def others(self, space) -> np.ndarray:
        return space.sample_array(np.random.default_rng(2), 500)

    def test_ranks_far_better_than_chance(self, predictor, rows, others):
        predictor.fit(rows, loss_of(rows))
        mean, spread = predictor.predict(others)
        assert mean.shape == spread.shape == (500,)
        assert kendall_tau(mean, loss_of(others)) > 0.7

    def test_uncertainty_covers_the_errors_and_grows_away_from_data(self, predictor, space, others):
        near = np.unique(others[others[:, space.column["depth"]] <= 1], axis=0)[:60]
        far = others[others[:, space.column["depth"]] >= 4]
        predictor.fit(near, loss_of(near))
        assert (predictor.predict(near)[1] >= 0).all()
        assert predictor.predict(far)[1].mean() > 1.2 * predictor.predict(near)[1].mean()

    def test_refitting_forgets_and_is_deterministic(self, predictor, rows, others):
        predictor.fit(rows, loss_of(rows))
        first = predictor.predict(others)
        predictor.fit(rows[:20], -loss_of(rows[:20]))
        predictor.fit(rows, loss_of(rows))
        np.testing.assert_array_equal(predictor.predict(others), first)

    def test_the_order_of_measurements_does_not_matter(self, predictor, rows, others):
        predictor.fit(rows, loss_of(rows))
        first, _ = predictor.predict(others)
        order = np.random.default_rng(0).permutation(len(rows))
        predictor.fit(rows[order], loss_of(rows)[order])
        np.testing.assert_allclose(predictor.predict(others)[0], first, rtol=1e-2, atol=0.05)

    def test_units_do_not_matter(self, predictor, rows, others):
        predictor.fit(rows, loss_of(rows))
        mean, spread = predictor.predict(others)
        predictor.fit(rows, 1000 + 100 * loss_of(rows))
        scaled_mean, scaled_spread = predictor.predict(others)
        np.testing.assert_allclose(scaled_mean, 1000 + 100 * mean, rtol=1e-2, atol=1)
        np.testing.assert_allclose(scaled_spread, 100 * spread, rtol=5e-2)

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_few_or_equal_losses_are_no_error(self, predictor, rows, others, count):
        predictor.fit(rows[:count], np.full(count, 7.0))
        mean, spread = predictor.predict(others)
        np.testing.assert_allclose(mean, 7.0)
        assert np.isfinite(spread).all()

    @pytest.mark.parametrize("space", [widths(1), widths(2)], ids=("one", "two"))
    def test_a_space_of_hardly_a_network_is_learned(self, predictor, space):
        rows = space.sample_array(np.random.default_rng(0), 40)
        losses = 7.0 + rows.sum(axis=1)
        predictor.fit(rows, losses)
        mean, spread = predictor.predict(rows[:5])
        np.testing.assert_allclose(mean, losses[:5], atol=0.3)
        assert np.isfinite(spread).all()

    def test_repeated_rows_with_different_losses_are_averaged(self, predictor, rows):
        twice = np.concatenate([rows, rows])
        predictor.fit(twice, np.concatenate([loss_of(rows) - 1, loss_of(rows) + 1]))
        mean, _ = predictor.predict(rows)
        assert np.abs(mean - loss_of(rows)).mean() < 2.0

    def test_a_population_of_failures_is_learned(self, predictor, rows, others):
        losses = np.where(np.arange(len(rows)) % 8, 90.0, loss_of(rows))
        predictor.fit(rows, losses)
        mean, spread = predictor.predict(np.concatenate([rows, others]))
        assert np.isfinite(mean).all()
        assert np.isfinite(spread).all()
        works = losses < 90
        assert mean[: len(rows)][works].mean() < mean[: len(rows)][~works].mean()

    def test_options_that_were_never_measured_are_predicted(self, predictor, space, rows, others):
        at = space.column["layer0.kernel"]
        known = rows[rows[:, at] == 0]
        predictor.fit(known, loss_of(known))
        mean, spread = predictor.predict(others[others[:, at] == 2])
        assert np.isfinite(mean).all()
        assert (spread > 0).all()

    def test_a_loss_that_is_not_finite_is_refused(self, predictor, rows):
        losses = loss_of(rows)
        losses[3] = np.nan
        with pytest.raises(ValueError, match=r"finite .*nan"):
            predictor.fit(rows, losses)

    def test_no_measurement_or_a_missing_one_is_refused(self, predictor, rows):
        for count in (0, 5):
            with pytest.raises(ValueError, match="one loss per genotype"):
                predictor.fit(rows[:count], loss_of(rows[: max(0, count - 1)]))
