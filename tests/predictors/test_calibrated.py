import numpy as np
import pytest

from nas.testing.predictor import PredictorContract, loss_of
from nas.testing.searcher import chain
from predictors.calibrated import Calibrated
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess, gaussian
from predictors.held_out import fitted, folds_of
from predictors.ridge import Ridge


class TestCalibratedRidge(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return Calibrated(space, Ridge(OneHot(space).compact))


class Boasting:
    """A linear predictor that states deviations by a factor too small or too large."""

    def __init__(self, space, factor):
        self._ridge = Ridge(OneHot(space).compact)
        self._factor = factor

    def fit(self, genotypes, losses):
        self._ridge.fit(genotypes, losses)

    def predict(self, genotypes):
        mean, spread = self._ridge.predict(genotypes)
        return mean, self._factor * spread


def noisy(rows, seed):
    return loss_of(rows) + np.random.default_rng(seed).normal(0, 3, len(rows))


@pytest.fixture(scope="module")
def space():
    return chain(depth=4)


@pytest.fixture(scope="module")
def drawn(space):
    return space.sample_array(np.random.default_rng(3), 1_000)


@pytest.mark.parametrize("factor", [0.0, 0.01, 30.0])
@pytest.mark.parametrize("count", [40, 200, 700])
def test_intervals_hold_nine_of_ten_whatever_the_member_states(space, drawn, factor, count):
    predictor = Calibrated(space, Boasting(space, factor))
    predictor.fit(drawn[:count], noisy(drawn[:count], 0))
    rows = drawn[700:]
    mean, spread = predictor.predict(rows)
    held = np.abs(noisy(rows, 1) - mean) <= 1.645 * spread
    assert 0.84 <= held.mean() <= 0.97


def test_a_member_that_knows_where_it_errs_keeps_its_differences(space, drawn):
    at = space.column["layer0.kernel"]
    rough = np.where(drawn[:, at] == 2, 10.0, 0.5)
    losses = 50 + rough * np.random.default_rng(0).normal(size=len(drawn))

    class Knowing:
        def fit(self, genotypes, losses):
            self._level = float(np.median(losses))

        def predict(self, genotypes):
            spread = np.where(genotypes[:, at] == 2, 2.0, 0.1)
            return np.full(len(genotypes), self._level), spread

    predictor = Calibrated(space, Knowing())
    predictor.fit(drawn[:300], losses[:300])
    _, spread = predictor.predict(drawn[300:])
    calm = drawn[300:, at] != 2
    assert predictor.share == pytest.approx(0.3)
    assert spread[~calm].mean() > 2.5 * spread[calm].mean()


def test_a_network_is_never_held_out_beside_itself(space, drawn):
    rows = np.sort(np.repeat(np.unique(drawn[:20], axis=0), 3, axis=0), axis=0)
    folds = folds_of(rows)
    _, network = np.unique(rows, axis=0, return_inverse=True)
    for number in np.unique(network.ravel()):
        assert len(np.unique(folds[network.ravel() == number])) == 1


def test_held_out_predictions_are_those_of_a_fit_without_them(space, drawn):
    rows = np.unique(drawn[:60], axis=0)
    losses = loss_of(rows)
    folds = folds_of(rows)
    mean, spread = fitted(Ridge(OneHot(space).compact), rows, losses)
    for fold in range(5):
        alone = Ridge(OneHot(space).compact)
        alone.fit(rows[folds != fold], losses[folds != fold])
        expected = alone.predict(rows[folds == fold])
        np.testing.assert_allclose((mean[folds == fold], spread[folds == fold]), expected)


def test_a_process_fitted_again_keeps_the_kernel_and_changes_nothing_of_the_first(space, drawn):
    rows = np.unique(drawn[:60], axis=0)
    losses = noisy(rows, 0)
    first = gaussian(space)
    first.fit(rows, losses)
    before = first.predict(drawn)
    again = first.refitted(rows, losses)
    np.testing.assert_allclose(again.predict(drawn), before, rtol=0.02)
    others = first.refitted(rows[::2], losses[::2])
    alone = gaussian(space)
    alone.fit(rows[::2], losses[::2])
    assert np.corrcoef(others.predict(drawn)[0], alone.predict(drawn)[0])[0, 1] > 0.95
    np.testing.assert_array_equal(first.predict(drawn), before)


def test_the_deviations_of_a_process_are_judged_by_processes_fitted_again(space, drawn):
    class Counted(GaussianProcess):
        fitted = 0

        def fit(self, genotypes, losses):
            super().fit(genotypes, losses)
            self.fitted += 1

    member = Counted(OneHot(space))
    predictor = Calibrated(space, member)
    predictor.fit(drawn[:150], noisy(drawn[:150], 0))
    assert member.fitted == 1
    mean, spread = predictor.predict(drawn[500:])
    held = np.abs(noisy(drawn[500:], 1) - mean) <= 1.645 * spread
    assert 0.84 <= held.mean() <= 0.97


def test_beyond_many_measurements_a_fifth_is_held_out(space):
    rows = np.unique(space.sample_array(np.random.default_rng(0), 2_000), axis=0)[:600]
    mean, _ = fitted(Ridge(OneHot(space).compact), rows, loss_of(rows))
    assert np.isfinite(mean).sum() == 120


def test_of_three_networks_none_is_held_out(space, drawn):
    rows = np.repeat(np.unique(drawn[:3], axis=0), 5, axis=0)
    assert (folds_of(rows) == -1).all()


@pytest.mark.parametrize("pick", [-1, 3])
def test_an_option_that_a_choice_does_not_have_is_refused(space, drawn, pick):
    predictor = Calibrated(space, Ridge(OneHot(space).compact))
    rows = drawn[:20].copy()
    predictor.fit(rows, loss_of(rows))
    rows[4, space.column["layer1.kernel"]] = pick
    with pytest.raises(ValueError, match=rf"layer1\.kernel.* 0 to 2, given option {pick}"):
        predictor.predict(rows)
    with pytest.raises(ValueError, match=r"layer1\.kernel"):
        predictor.fit(rows, np.ones(20))


def test_rows_of_another_space_are_refused(space, drawn):
    predictor = Calibrated(space, Ridge(OneHot(space).compact))
    with pytest.raises(ValueError, match=r"rows of 9 option indices.*\(20, 8\)"):
        predictor.fit(drawn[:20, 1:], np.ones(20))
