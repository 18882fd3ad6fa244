"""A latency model of one operator at one width, fitted to a few measured kernels."""

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
FEWEST = 6  # kernels that a model is fitted to
_FOLDS = 5
_SEED = 0


@dataclass(frozen=True)
class HeldOut:
    """Relative errors of kernels that a model had not seen.

    Attributes:
        median: Half of them are below.
        tail: 90 % of them are below.
        typical: 68 % of them are below: one standard deviation, were they normal.
    """

    median: float
    tail: float
    typical: float


@dataclass(frozen=True, eq=False)
class KernelLatency:
    """Predicts milliseconds from features.

    Attributes:
        regression: The regression, on the logarithm of the latency.
        name: What kind it is.
        error: Its error in cross-validation.
    """

    regression: Pipeline
    name: str
    error: HeldOut

    def predict_ms(self, features: FloatArray) -> FloatArray:
        """Milliseconds `(kernels,)` from `(kernels, features)`."""
        return np.exp(self.regression.predict(features))


def fit(features: FloatArray, latency_ms: Sequence[float]) -> KernelLatency:
    """The regression that predicts best what it has not seen, fitted to all that is given.

    Ridge regression, a Gaussian process and gradient boosting are held against each other in
    fivefold cross-validation of the logarithm of the latency; the least mean absolute error wins.

    Args:
        features: `(kernels, features)`, at least `FEWEST` kernels.
        latency_ms: What was measured of each.
    """
    wanted = np.log(latency_ms)
    folds = KFold(min(_FOLDS, len(wanted)), shuffle=True, random_state=_SEED)
    held_out: dict[str, FloatArray] = {}
    with warnings.catch_warnings():
        # A feature that does not matter sends its length scale to the bound; that is meant.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, make in _REGRESSIONS.items():
            held_out[name] = cross_val_predict(make(), features, wanted, cv=folds) - wanted
        best = min(held_out, key=lambda name: float(np.abs(held_out[name]).mean()))
        fitted = _REGRESSIONS[best]().fit(features, wanted)
    median, typical, tail = np.quantile(np.abs(np.expm1(held_out[best])), (0.5, 0.68, 0.9))
    return KernelLatency(fitted, best, HeldOut(float(median), float(tail), float(typical)))


def _ridge() -> Pipeline:
    """A plane and its curvature."""
    curved = PolynomialFeatures(2, include_bias=False)
    return make_pipeline(StandardScaler(), curved, RidgeCV(np.logspace(-3, 3, 13)))


def _gaussian_process() -> Pipeline:
    """Smooth in all features alike, with noise."""
    kernel = ConstantKernel(1.0) * RBF(3.0) + WhiteKernel(1e-2)
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=_SEED)
    return make_pipeline(StandardScaler(), process)


def _boosting() -> Pipeline:
    """Steps, for runtimes that switch between algorithms."""
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
