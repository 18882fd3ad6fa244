"""A Gaussian process over genotypes whose kernel learns which choices matter."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri  # pyright: ignore[reportAttributeAccessIssue]
from scipy.optimize import minimize

from predictors.features import Column, OneHot, checked, rotated
from predictors.posterior import Kernel, Posterior, exact, half_squares, sparse
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

_STEPS = 40
_MORE_STEPS = 5  # from the kernel of a fit to nearly the same measurements
_FARTHEST = 8.0
# With less noise, rounding errors decide; with more, nothing is learned.
_NOISE_RANGE = (float(np.log(1e-4)), float(np.log(1e2)))
_BLOCK = 4096


@dataclass(frozen=True)
class Prior:
    """The prior of the kernel's parameters: normal distributions of their natural logarithms.

    Attributes:
        reach: Means of the summed weights of the one-hot, ordinal and standardised columns.
        reach_spread: Standard deviation of each of these sums.
        relevance_spread: Standard deviation of a single weight around its equal share of the sum.
        noise: Mean of the noise variance, as a share of the variance of the signal with trend.
        noise_spread: Standard deviation of the noise variance.
        trend: Mean of the trend t, see `GaussianProcess`.
        trend_spread: Standard deviation of the trend.
    """

    reach: tuple[float, float, float] = (-2.0, -2.0, -1.0)
    reach_spread: float = 1.0
    relevance_spread: float = 1.0
    noise: float = -4.6
    noise_spread: float = 1.5
    trend: float = 0.0
    trend_spread: float = 2.0


@dataclass(frozen=True)
class Reach:
    """The numbers of measurements up to which a process does all its work exactly.

    Attributes:
        tuned: The largest number of measurements that decide about the kernel's parameters.
        exact: The largest number for which the posterior is exact; with more, that many of the
            measurements are inducing points.
    """

    tuned: int = 256
    exact: int = 500


class GaussianProcess:
    """A Gaussian process with the kernel exp(-d) + t p over the features of genotypes.

    d is the weighted sum of squared differences of features. p is the scalar product of features
    under the same weights, taken from the mean of the measured genotypes. The first term follows
    details near measured genotypes; the second is a linear trend, which continues far from them.

    Each choice has two weights: one for a different option, one for the distance in the order of
    options. Each standardised column has one weight. Over one-hot columns, exp(-d) is the product
    kernel for categorical data. The weights, the trend t and the noise maximise their posterior;
    variance and mean of the signal have a closed form (Rasmussen and Williams 2006, chapter 5).

    Time and memory of a fit are linear in the number of measurements beyond `reach`: there, the
    best measurements and an even part of the others decide about the kernel's parameters, and
    others like them are the inducing points of all measurements.

    Args:
        features: The features of the space.
        prior: The prior of the kernel's parameters.
        reach: How many measurements are treated exactly.
    """

    def __init__(
        self,
        features: OneHot,
        *,
        prior: Prior = Prior(),
        reach: Reach = Reach(),  # frozen
    ) -> None:
        self.features = features
        self.prior = prior
        self._reach = reach
        sizes = [len(features.space.choices)] * 2
        extra = features.columns - features.parts[2].start
        self.part = np.repeat([0, 1, 2], [*sizes, extra])
        share = np.log(np.maximum([*sizes, extra], 1))
        self._mean = (np.array(prior.reach) - share)[self.part]

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn from canonical `genotypes` `(n, choices)` and their finite `losses` `(n,)`.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite.
        """
        self._learn(genotypes, losses, start=None)

    def refitted(self, genotypes: IntArray, losses: FloatArray) -> GaussianProcess:
        """A process fitted to other measurements in a few steps, from the kernel of the last fit.

        Raises:
            ValueError: As `fit` does.
        """
        other = copy.copy(self)
        other._learn(genotypes, losses, start=self._parameters)
        return other

    def _learn(self, genotypes: IntArray, losses: FloatArray, *, start: FloatArray | None) -> None:
        losses = checked(genotypes, losses)
        self._center, self._spread = float(losses.mean()), float(losses.std()) or 1.0
        self._y = (losses - self._center) / self._spread
        self._dummies = self.features.dummies(genotypes)
        tuned = representatives(losses, self._reach.tuned)
        X = self._dummies[tuned] @ self.features.expansion
        evidence = Evidence(_pair_distances(self.features, X), self._y[tuned], self)
        self._parameters = evidence.likeliest(start)
        self._settle(self._parameters)

    def _settle(self, parameters: FloatArray) -> None:
        weights = self.weights(parameters)
        choices = len(self.features.space.choices)
        scale = np.concatenate([weights[self.features.one_hot_choice] / 2, weights[choices:]])
        # Features are shifted by their mean, scaled, and rotated into few columns, which keeps
        # scalar products. These are doubled: half the squared lengths of two rows minus their
        # product is then the distance d.
        expansion = self.features.expansion.astype(np.float64)
        expansion[0] -= self._dummies.mean(axis=0, dtype=np.float64) @ self.features.expansion
        self._turned = rotated(expansion * np.sqrt(2 * scale))
        points = self._dummies.astype(np.float64) @ self._turned
        self._posterior = settled(points, self._y, parameters, reach=self._reach)

    def weights(self, parameters: FloatArray) -> FloatArray:
        """The weights of the kernel, `(weights,)`, from the parameters that are optimised.

        One per choice for a different option, one per choice for the distance in the order, one
        per standardised column.
        """
        return np.exp(self._mean + parameters[3:-2] + parameters[:3][self.part])

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of the loss without measurement noise, each `(n,)`.

        Args:
            genotypes: `(n, choices)`, canonical.
        """
        mean, variance = np.empty((2, len(genotypes)))
        for start in range(0, len(genotypes), _BLOCK):
            rows = slice(start, start + _BLOCK)
            points = self.features.dummies(genotypes[rows]) @ self._turned
            mean[rows], variance[rows] = self._posterior(points)
        return mean * self._spread + self._center, np.sqrt(variance) * self._spread


def gaussian(space: SearchSpace, columns: Sequence[Column] = ()) -> GaussianProcess:
    """A Gaussian process over the picks in a space and further columns."""
    return GaussianProcess(OneHot(space, extra=columns))


def settled(
    points: FloatArray, y: FloatArray, parameters: FloatArray, *, reach: Reach
) -> Posterior:
    """The posterior given `y` `(n,)` at `points` `(n, columns)`, with the likeliest parameters.

    Only the last two parameters are read, which are those of the trend and the noise.
    """
    trend, noise = np.exp(parameters[-2:])
    # Noise is a share of the variance with trend, else a large trend would make it vanish.
    noise = float(noise * (1.0 + trend * half_squares(points).mean()))
    kernel = Kernel(float(trend))
    if len(points) <= reach.exact:
        return exact(kernel, points, y, noise=noise)
    return sparse(kernel, points, y, noise=noise, inducing=representatives(y, reach.exact))


def representatives(losses: FloatArray, most: int) -> NDArray[np.intp]:
    """The positions of at most `most` losses: half are the least, half even among the others."""
    order = np.argsort(losses, kind="stable")
    if len(order) <= most:
        return np.arange(len(order))
    best, others = np.split(order, [most // 2])
    spaced = np.linspace(0, len(others) - 1, most - len(best)).round().astype(np.int64)
    return np.sort(np.concatenate([best, others[spaced]]))


class Weighted(Protocol):
    """A process whose kernel weights several squared distances.

    Attributes:
        prior: The prior of the kernel's parameters.
        part: Which of the sums of `Prior.reach` each weight belongs to, `(weights,)`.
    """

    prior: Prior
    part: NDArray[np.int64]

    def weights(self, parameters: FloatArray) -> FloatArray:
        """The weights from the parameters that are optimised, `(weights,)`."""
        ...


class Evidence:
    """The negative log posterior of the kernel's parameters, with its gradient.

    Args:
        distances: The squared distances `(weights, pairs)` of all pairs of measured networks.
        y: The standardised losses, `(n,)`.
        owner: The process.
    """

    def __init__(self, distances: NDArray[np.float32], y: FloatArray, owner: Weighted) -> None:
        self._distances = distances
        self._y = y
        self._owner = owner
        self._upper = np.triu_indices(len(y), 1)

    def likeliest(self, start: FloatArray | None = None) -> FloatArray:
        """The parameters with the largest posterior: sums, weights, trend and noise.

        Args:
            start: The parameters for nearly the same measurements, from which few steps suffice.
        """
        prior, steps = self._owner.prior, _STEPS if start is None else _MORE_STEPS
        if start is None:
            start = np.zeros(3 + len(self._distances) + 2)
            start[-2:] = prior.trend, prior.noise
        bounds = (
            [(-_FARTHEST, _FARTHEST)] * (len(start) - 2) + [(-20.0, _FARTHEST)] + [_NOISE_RANGE]
        )
        options = {"maxiter": steps}
        found = minimize(self, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return found.x

    def _decompose(self, parameters: FloatArray) -> tuple[FloatArray, ...]:
        weights = self._owner.weights(parameters)
        trend, noise = np.exp(parameters[-2:])
        far = (weights.astype(np.float32) @ self._distances).astype(np.float64)
        near = np.exp(-far)
        covariance, apart = np.ones((2, len(self._y), len(self._y)))
        covariance[self._upper] = near
        covariance.T[self._upper] = near
        apart[self._upper] = far
        apart.T[self._upper] = far
        np.fill_diagonal(apart, 0.0)
        linear = -0.5 * _centered(apart)
        covariance += trend * linear
        # Noise is a share of the variance with trend, else a large trend would make it vanish.
        covariance.flat[:: len(self._y) + 1] += noise * (1.0 + trend * _mean_square(linear))
        factor, failed = dpotrf(covariance, lower=1)
        if failed:
            raise FloatingPointError("the kernel matrix is not positive definite")
        return weights, near, linear, factor

    def _profiled(self, factor: FloatArray) -> tuple[FloatArray, FloatArray, float, float]:
        """The inverse covariance, the dual weights, the mean and the variance of the signal.

        Mean and variance are those with the largest likelihood.
        """
        inverse, _ = dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        ones = inverse.sum(axis=1)
        level = float(ones @ self._y / ones.sum())
        residual = self._y - level
        dual = inverse @ residual
        return inverse, dual, level, max(float(residual @ dual) / len(self._y), 1e-12)

    def __call__(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """The value for `parameters`, and its gradient."""
        prior, n = self._owner.prior, len(self._y)
        weights, near, linear, factor = self._decompose(parameters)
        trend, noise = np.exp(parameters[-2:])
        inverse, dual, _, variance = self._profiled(factor)
        slope = 0.5 * (inverse - np.outer(dual, dual) / variance)
        trace, size = float(np.trace(slope)), _mean_square(linear)
        by_trend = 0.5 * trend * (_centered(slope)[self._upper] - noise * trace / n**2)
        pull = (slope[self._upper] * near + by_trend).astype(np.float32)
        by_weight = -2.0 * weights * (self._distances @ pull)
        spread = np.concatenate(
            [
                np.full(3, prior.reach_spread),
                np.full(len(weights), prior.relevance_spread),
                [prior.trend_spread, prior.noise_spread],
            ]
        )
        offset = parameters.copy()
        offset[-2:] -= prior.trend, prior.noise
        by_part = np.bincount(self._owner.part, by_weight, minlength=3)
        last = [
            trend * (float((slope * linear).sum()) + noise * size * trace),
            noise * (1.0 + trend * size) * trace,
        ]
        gradient = np.concatenate([by_part, by_weight, last])
        loss = 0.5 * (n * np.log(variance) + ((offset / spread) ** 2).sum())
        loss += float(np.log(np.diag(factor)).sum())
        return loss, gradient + offset / spread**2


def _mean_square(linear: FloatArray) -> float:
    """The mean of the diagonal of a kernel matrix."""
    return float(np.trace(linear)) / len(linear)


def _centered(matrix: FloatArray) -> FloatArray:
    """The symmetric `matrix` shifted so that each row and each column sums to zero."""
    means = matrix.mean(axis=0)
    return matrix - means - means[:, None] + means.mean()


def _pair_distances(features: OneHot, X: NDArray[np.float32]) -> NDArray[np.float32]:
    """The squared differences `(weights, pairs)` of all pairs of rows of `X` `(n, columns)`.

    One line per weight of the kernel, in the order of `GaussianProcess.weights`.
    """
    first, second = np.triu_indices(len(X), 1)
    one_hot, ordinal, extra = features.parts
    starts = np.flatnonzero(np.diff(features.one_hot_choice, prepend=-1))
    rows: list[NDArray[np.float32]] = []
    for block in np.split(X[:, one_hot].T, starts)[1:]:  # the first piece is empty
        squares = (block[:, first] - block[:, second]) ** 2
        rows.append((squares.sum(axis=0) / 2).astype(np.float32))
    for column in X[:, ordinal.start : extra.stop].T:
        rows.append((column[first] - column[second]) ** 2)
    return np.array(rows, dtype=np.float32).reshape(len(rows), len(first))
