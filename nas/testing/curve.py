"""The contract of a model of learning curves: give `model` as a fixture and inherit every test."""

import numpy as np
import pytest

from predictors.curves.forecast import CurveModel

EPOCHS = 40


def falling(count: int, *, known: int, noise: float = 0.01) -> np.ndarray:
    """Noisy power laws `2 + t ** -d`, `(count, known)`, with their ends behind them, `(count,)`."""
    rng = np.random.default_rng(0)
    time = np.arange(1.0, EPOCHS + 1)
    curves = 2 + time ** -rng.uniform(0.3, 1.2, (count, 1))
    noisy = curves[:, :known] + noise * rng.standard_normal((count, known))
    return np.column_stack([noisy, curves[:, -1]])


class CurveModelContract:
    """The tests of a model of learning curves."""

    @pytest.fixture
    def model(self) -> CurveModel:
        raise NotImplementedError("give the model under test")

    @pytest.mark.parametrize("known", [2, 3, 10, EPOCHS - 1])
    def test_each_curve_has_a_distribution_of_its_end(self, model, known):
        forecast = model(falling(7, known=known)[:, :-1], EPOCHS)
        assert forecast.mean.shape == forecast.deviation.shape == (7,)
        np.testing.assert_allclose(forecast.weights.sum(axis=1), 1.0)
        assert (forecast.deviations > 0).all()
        assert np.isfinite(forecast.mean).all()

    def test_the_end_is_likely_where_it_lies(self, model):
        curves = falling(60, known=20)
        forecast = model(curves[:, :-1], EPOCHS)
        error = np.abs(forecast.mean - curves[:, -1])
        assert np.median(error) < 0.1
        assert (error < 3 * forecast.deviation).mean() > 0.8

    def test_another_unit_gives_the_same_forecast_in_that_unit(self, model):
        curves = falling(5, known=8)[:, :-1]
        one, other = model(curves, EPOCHS), model(1000 * curves - 7, EPOCHS)
        np.testing.assert_allclose(other.mean, 1000 * one.mean - 7, rtol=1e-3)
        np.testing.assert_allclose(other.deviation, 1000 * one.deviation, rtol=1e-3)

    def test_a_curve_does_not_change_the_forecast_of_another(self, model):
        curves = falling(5, known=8)[:, :-1]
        np.testing.assert_allclose(
            model(curves[2:3], EPOCHS).mean, model(curves, EPOCHS).mean[2:3], rtol=1e-5
        )

    def test_constant_and_rising_curves_have_finite_forecasts(self, model):
        curves = np.stack([np.full(6, 3.0), np.arange(6.0), np.zeros(6)])
        forecast = model(curves, EPOCHS)
        assert np.isfinite(forecast.mean).all()
        assert (forecast.deviation > 0).all()

    def test_what_is_no_beginning_of_a_curve_is_refused(self, model):
        curves = falling(3, known=8)[:, :-1]
        with pytest.raises(ValueError, match="at least 2 epochs"):
            model(curves[:, :1], EPOCHS)
        with pytest.raises(ValueError, match="beyond the 8 epochs"):
            model(curves, 8)
        with pytest.raises(ValueError, match="finite"):
            model(np.where(curves > curves.min(), curves, np.nan), EPOCHS)
