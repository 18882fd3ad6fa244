import numpy as np
import pytest

from nas.testing.predictor import PredictorContract
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess, Reach
from predictors.posterior import Kernel, exact, sparse

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(60, 3))
VALUES = np.sin(POINTS[:, 0]) + POINTS[:, 1] + 0.1 * RNG.normal(size=60)
OTHERS = RNG.normal(size=(20, 3)).astype(np.float32)
KERNEL = Kernel(0.3)


class TestProcessOfManyMeasurements(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return GaussianProcess(OneHot(space), reach=Reach(tuned=40, exact=30))


def test_where_all_points_are_inducing_the_sparse_posterior_is_the_exact_one():
    whole = exact(KERNEL, POINTS, VALUES, noise=0.05)
    told = sparse(KERNEL, POINTS, VALUES, noise=0.05, inducing=np.arange(60))
    assert (told.level, told.variance) == pytest.approx((whole.level, whole.variance), rel=1e-3)
    for got, wanted in zip(told(OTHERS), whole(OTHERS), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=2e-3)


def test_the_sparse_posterior_is_that_of_its_low_rank_covariance():
    noise, held, others = 0.05, POINTS[:15], OTHERS.astype(np.float64)
    told = sparse(KERNEL, POINTS, VALUES, noise=noise, inducing=np.arange(15))
    inner = np.linalg.inv(KERNEL(held, held))
    across = KERNEL(POINTS, held)
    inverse = np.linalg.inv(across @ inner @ across.T + noise * np.eye(60))
    level = (inverse @ VALUES).sum() / inverse.sum()
    near = KERNEL(others, held)
    to_data = near @ inner @ across.T
    mean = level + to_data @ inverse @ (VALUES - level)
    left = np.diag(KERNEL(others, others)) - np.einsum("nm,mk,nk->n", to_data, inverse, to_data)
    variance = (VALUES - level) @ inverse @ (VALUES - level) / 60
    np.testing.assert_allclose(told(OTHERS)[0], mean, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(told(OTHERS)[1], variance * left, rtol=1e-2, atol=2e-3)


def test_measurements_beyond_those_that_are_exact_still_count():
    points = np.concatenate([POINTS, POINTS])
    twice = np.concatenate([VALUES, VALUES + 2])
    few = exact(KERNEL, POINTS, VALUES, noise=0.05)
    told = sparse(KERNEL, points, twice, noise=0.05, inducing=np.arange(60))
    assert (told(OTHERS)[0] - few(OTHERS)[0]).mean() == pytest.approx(1, abs=0.1)
