"""Latency models: regressions from features to latency, fitted to a few measured kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

FloatArray = NDArray[np.float64]
FEWEST = 6  # the least number of kernels to fit a model to
_FOLDS = 5
_SEED = 0


@dataclass(frozen=True)
class HeldOut:
    """Quantiles of the relative errors of a model on kernels to which it was not fitted.

    Attributes:
        median: The median of the errors.
        tail: The 90 % quantile of the errors.
        typical: The 68 % quantile of the errors, which is the standard deviation if the errors are
            normally distributed.
    """

    median: float
    tail: float
    typical: float


@dataclass(frozen=True, eq=False)
class KernelLatency:
    """A latency model of kernels with the same operator and bits.

    Attributes:
        regression: The regression, which predicts the logarithm of the latency.
        name: The kind of regression.
        error: The errors of the regression in cross-validation.
    """

    regression: Pipeline
    name: str
    error: HeldOut

    def predict_ms(self, features: FloatArray) -> FloatArray:
        """The predicted latencies in milliseconds, `(kernels,)`, for `(kernels, features)`."""
        return np.exp(self.regression.predict(features))


def fit(features: FloatArray, latency_ms: Sequence[float]) -> KernelLatency:
    """The regression with the least cross-validation error, fitted to all kernels.

    Candidates are ridge regression, a Gaussian process and gradient boosting. The error is the mean
    absolute error of the logarithm of the latency in five-fold cross-validation.

    Args:
        features: `(kernels, features)`, of at least `FEWEST` kernels.
        latency_ms: The measured latency of each kernel.
    """
    wanted = np.log(latency_ms)
    folds = KFold(min(_FOLDS, len(wanted)), shuffle=True, random_state=_SEED)
    held_out: dict[str, FloatArray] = {}
    with warnings.catch_warnings():
        # The length scale of an irrelevant feature goes to its bound, as intended.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, make in _REGRESSIONS.items():
            held_out[name] = cross_val_predict(make(), features, wanted, cv=folds) - wanted
        best = min(held_out, key=lambda name: float(np.abs(held_out[name]).mean()))
        fitted = _REGRESSIONS[best]().fit(features, wanted)
    median, typical, tail = np.quantile(np.abs(np.expm1(held_out[best])), (0.5, 0.68, 0.9))
    return KernelLatency(fitted, best, HeldOut(float(median), float(tail), float(typical)))


def _ridge() -> Pipeline:
    """Ridge regression on the features and their products of degree two."""
    curved = PolynomialFeatures(2, include_bias=False)
    return make_pipeline(StandardScaler(), curved, RidgeCV(np.logspace(-3, 3, 13)))


def _gaussian_process() -> Pipeline:
    """A Gaussian process: a smooth function of all features, with noise."""
    kernel = ConstantKernel(1.0) * RBF(3.0) + WhiteKernel(1e-2)
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=_SEED)
    return make_pipeline(StandardScaler(), process)


def _boosting() -> Pipeline:
    """Gradient boosting: a step function, for runtimes that switch between algorithms."""
    return make_pipeline(
        GradientBoostingRegressor(
            n_estimators=200, learning_rate=0.1, max_depth=3, subsample=0.7, random_state=_SEED
        )
    )


_REGRESSIONS: dict[str, Callable[[], Pipeline]] = {
    "ridge": _ridge,
    "Gaussian process": _gaussian_process,
    "gradient boosting": _boosting,
}
