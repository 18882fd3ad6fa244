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
    """A linear predictor with a quadratic penalty, which is chosen by likelihood.

    The predicted standard deviation is that of the Bayesian posterior, noise included, in which the
    penalty is the prior of the weights (Bishop 2006, section 3.3). The penalty has the largest
    likelihood of the losses less their mean (Rasmussen and Williams 2006, section 5.4.1).
    Leave-one-out error picks far too small a penalty where there are about as many measurements as
    columns: all but one of the measurements are then fitted exactly.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, such as
            `OneHot(space)`. Only scalar products of features matter, so `OneHot(space).compact`
            gives the same predictions and is faster.
        penalties: Candidates for the penalty, in units of the squared features.

    Attributes:
        penalty: The chosen penalty, after `fit`.
        noise: The standard deviation of the noise of a measurement, after `fit`.
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
        tried = [_likely(s, Uy, y - self._mean, float(penalty)) for penalty in self.penalties]
        _, self.penalty, self.noise = min(tried)
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
        return mean, self.noise * np.sqrt(1.0 + spread, dtype=np.float64)


def ridge(space: SearchSpace, columns: Sequence[Column] = ()) -> Ridge:
    """A ridge regression on the picks in a space and further columns."""
    return Ridge(OneHot(space, extra=columns).compact)


def _likely(
    s: FloatArray, Uy: FloatArray, y: FloatArray, penalty: float
) -> tuple[float, float, float]:
    """The misfit of a penalty, the penalty, and the standard deviation of the noise.

    The misfit is twice the mean negative log likelihood with the best deviation of the noise. One
    of the `n` losses is spent on the mean.

    Args:
        s: The singular values of the centred features, `(rank,)`.
        Uy: The projections of `y` on the left singular vectors, `(rank,)`.
        y: The centred losses, `(n,)`.
        penalty: The penalty.
    """
    free, spectrum = max(1, len(y) - 1), 1 + s**2 / penalty
    beyond = max(float(y @ y - Uy @ Uy), 0.0)
    variance = max((beyond + float(np.sum(Uy**2 / spectrum))) / free, 1e-300)
    misfit = np.log(variance) + float(np.log(spectrum).sum()) / free
    return misfit, penalty, float(np.sqrt(variance))
