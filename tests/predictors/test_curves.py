"""Models of learning curves, their prior, and the distribution that they give."""

import numpy as np
import pytest
from scipy.stats import kstest, norm

from nas.testing.curve import EPOCHS, CurveModelContract, falling
from predictors.curves.averaged import families, last_value, power_law
from predictors.curves.fitting import fitted
from predictors.curves.forecast import Forecast
from predictors.curves.prior_fitted import forecast, prior_fitted
from predictors.curves.shapes import FAMILIES, drawn


class TestPriorFitted(CurveModelContract):
    @pytest.fixture
    def model(self):
        return prior_fitted


class TestFamilies(CurveModelContract):
    @pytest.fixture
    def model(self):
        return families


class TestPowerLaw(CurveModelContract):
    @pytest.fixture
    def model(self):
        return power_law


class TestLastValue(CurveModelContract):
    @pytest.fixture
    def model(self):
        return last_value


def test_a_mixture_has_the_moments_and_chances_of_its_normals():
    mixture = Forecast(np.array([[0.25, 0.75]]), np.array([[0.0, 4.0]]), np.array([[1.0, 2.0]]))
    assert mixture.mean[0] == pytest.approx(3.0)
    assert mixture.deviation[0] == pytest.approx(np.sqrt(0.25 * (1 + 9) + 0.75 * (4 + 1)))
    chance = 0.25 * norm.cdf(1.0) + 0.75 * norm.cdf(1.0, 4, 2)
    assert mixture.chance_below(1.0)[0] == pytest.approx(chance)
    density = 0.25 * norm.pdf(1.0) + 0.75 * norm.pdf(1.0, 4, 2)
    assert mixture.log_density(np.array([1.0]))[0] == pytest.approx(np.log(density))


@pytest.mark.parametrize("name", FAMILIES)
def test_shapes_fall_from_one_towards_zero(name):
    family = FAMILIES[name]
    parameters = family.drawn(np.random.default_rng(0), 50)
    shapes = family.shape(np.arange(1.0, 400.0), parameters)
    np.testing.assert_allclose(shapes[:, 0], 1.0)
    assert (np.diff(shapes, axis=1) <= 0).all()
    assert (shapes >= 0).all()
    assert np.log(family.grid(9)).mean(axis=0) == pytest.approx(family.center)


def test_an_exact_power_law_is_continued():
    time = np.arange(1.0, EPOCHS + 1)
    exponent, shift = FAMILIES["power"].grid(6)[14]
    curve = 5 - 3 * (1 - ((time + shift) / (1 + shift)) ** -exponent)
    found = power_law(curve[None, :12], EPOCHS)
    assert found.mean[0] == pytest.approx(curve[-1], abs=0.02)
    assert found.deviation[0] < 0.1


def test_forecasts_of_the_prior_are_calibrated():
    curves = drawn(np.random.default_rng(5), 400, EPOCHS)
    found = prior_fitted(curves[:, :10], EPOCHS)
    below = [found.chance_below(end)[place] for place, end in enumerate(curves[:, -1])]
    assert kstest(below, "uniform").statistic < 0.12


def test_a_trained_network_is_more_certain_than_a_new_one():
    curves = falling(30, known=15)
    ends, known = curves[:, -1], curves[:, :-1]
    new = forecast(fitted(steps=2, seed=0, told=lambda *_: None), known, EPOCHS)
    assert prior_fitted(known, EPOCHS).log_density(ends).mean() > new.log_density(ends).mean() + 1
