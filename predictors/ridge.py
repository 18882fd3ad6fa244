"""Ridge regression on features of genotypes, with posterior uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from predictors.features import Column, OneHot, checked
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
Features = Callable[[IntArray], NDArray[np.float32]]

PENALTIES = np.logspace(-3, 4, 29)


class Ridge:
    """A linear predictor with a quadratic penalty, which is chosen by exact leave-one-out error.

    The predicted standard deviation is that of the Bayesian posterior, noise included, in which the
    penalty is the prior of the weights (Bishop 2006, section 3.3).

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, such as
            `OneHot(space)`. Only scalar products of features matter, so `OneHot(space).compact`
            gives the same predictions and is faster.
        penalties: Candidates for the penalty, in units of the squared features.

    Attributes:
        penalty: The chosen penalty, after `fit`.
        leave_one_out_error: The root mean squared error of predicting each measurement from all
            others, after `fit`.
    """

    def __init__(self, features: Features, *, penalties: FloatArray = PENALTIES) -> None:
        self.features = features
        self.penalties = penalties

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn from canonical `genotypes` `(n, choices)` and their finite `losses` `(n,)`.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite.
        """
        y = checked(genotypes, losses)
        X = self.features(genotypes).astype(np.float64)
        self._center, self._mean = X.mean(axis=0), float(y.mean())
        U, s, Vt = np.linalg.svd(X - self._center, full_matrices=False)
        kept = s > 1e-9 * s.max(initial=1.0)
        U, s, Vt = U[:, kept], s[kept], Vt[kept]
        Uy = U.T @ (y - self._mean)
        errors = [_leave_one_out(U, s, Uy, y - self._mean, penalty) for penalty in self.penalties]
        self.penalty = float(self.penalties[int(np.argmin(errors))])
        self.leave_one_out_error = float(np.sqrt(np.min(errors)))
        self._weights = Vt.T @ (s / (s**2 + self.penalty) * Uy)
        # The precision matrix of the posterior, in units of that of the noise; its inverse is the
        # covariance.
        precision = (Vt.T * s**2) @ Vt + self.penalty * np.eye(X.shape[1])
        self._whiten = np.linalg.inv(np.linalg.cholesky(precision)).T.astype(np.float32)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of the loss, noise included, each `(n,)`."""
        X = self.features(genotypes) - self._center
        mean = self._mean + X @ self._weights
        whitened = X.astype(np.float32) @ self._whiten
        spread = np.einsum("nc,nc->n", whitened, whitened)
        return mean, self.leave_one_out_error * np.sqrt(1.0 + spread, dtype=np.float64)


def ridge(space: SearchSpace, columns: Sequence[Column] = ()) -> Ridge:
    """A ridge regression on the picks in a space and further columns."""
    return Ridge(OneHot(space, extra=columns).compact)


def _leave_one_out(
    U: FloatArray, s: FloatArray, Uy: FloatArray, y: FloatArray, penalty: float
) -> float:
    """The mean squared error of predicting each loss from all others, with a new intercept.

    Args:
        U: The left singular vectors of the centred features, `(n, rank)`.
        s: Their singular values, `(rank,)`.
        Uy: `U.T @ y`.
        y: The centred losses, `(n,)`.
        penalty: The penalty.
    """
    shrink = s**2 / (s**2 + penalty)
    leverage = (U**2) @ shrink + 1.0 / len(y)
    residual = y - U @ (shrink * Uy)
    return float(np.mean((residual / np.maximum(1.0 - leverage, 1e-6)) ** 2))
