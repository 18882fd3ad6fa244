"""Ridge regression on the features of genotypes and on the products of every two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictors.features import Column, OneHot, checked
from predictors.ridge import Features
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

_SHARES = (0.0, 0.1, 0.3, 1.0)
_PENALTIES = np.logspace(-3, 3, 19)


class PairRidge:
    """A quadratic predictor with a quadratic penalty: linear terms and products of two features.

    The products are never computed: the kernel of two networks is `p + share * p²`, where p is the
    scalar product of their centred features, in units of its mean over a network and itself. The
    share and the penalty have the largest likelihood (Rasmussen and Williams 2006, section 5.4.1),
    as in `Ridge`. The predicted standard deviation is that of the Bayesian posterior, noise
    included.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, of which only scalar
            products matter, such as `OneHot(space).compact`.

    Attributes:
        share: The share of the products, after `fit`.
        penalty: The penalty, after `fit`.
    """

    def __init__(self, features: Features) -> None:
        self.features = features

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn from canonical `genotypes` `(n, choices)` and their finite `losses` `(n,)`.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite.
        """
        y = checked(genotypes, losses)
        X = self.features(genotypes).astype(np.float64)
        self._center, self._mean = X.mean(axis=0), float(y.mean())
        X -= self._center
        self._scale = float(np.sqrt(np.einsum("nc,nc->", X, X) / len(X))) or 1.0
        self._X = X / self._scale
        products = self._X @ self._X.T
        tried = [
            found for share in _SHARES for found in _solutions(products, y - self._mean, share)
        ]
        _, self.share, self.penalty, self._noise = min(tried)
        covariance = products + self.share * products**2 + self.penalty * np.eye(len(y))
        self._inverse = np.linalg.inv(covariance)
        self._dual = self._inverse @ (y - self._mean)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of the loss, noise included, each `(n,)`."""
        X = (self.features(genotypes) - self._center) / self._scale
        products = X @ self._X.T
        kernel = products + self.share * products**2
        own = np.einsum("nc,nc->n", X, X)
        left = own + self.share * own**2 - np.einsum("nm,nm->n", kernel @ self._inverse, kernel)
        variance = 1.0 + np.maximum(left, 0.0) / self.penalty
        return self._mean + kernel @ self._dual, np.sqrt(self._noise * variance)


def pairs(space: SearchSpace, columns: Sequence[Column] = ()) -> PairRidge:
    """A ridge regression on the picks in a space, on further columns, and on all their products."""
    return PairRidge(OneHot(space, extra=columns).compact)


def _solutions(
    products: FloatArray, y: FloatArray, share: float
) -> list[tuple[float, float, float, float]]:
    """The misfit of every penalty, with `share`, the penalty and the variance of the noise.

    The misfit is twice the mean negative log likelihood with the best variance of the noise.
    """
    values, vectors = np.linalg.eigh(products + share * products**2)
    squares = (vectors.T @ y) ** 2
    found: list[tuple[float, float, float, float]] = []
    for penalty in _PENALTIES:
        spectrum = 1 + np.maximum(values, 0.0) / penalty
        noise = max(float(np.mean(squares / spectrum)), 1e-300)
        misfit = np.log(noise) + float(np.log(spectrum).mean())
        found.append((misfit, share, float(penalty), noise))
    return found
