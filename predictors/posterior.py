"""The posterior of a Gaussian process, exact or from a few inducing points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import strmm  # pyright: ignore[reportAttributeAccessIssue]

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]

# What is added to the variance of inducing points so that their covariance can be inverted.
_JITTER = 1e-5


@dataclass(frozen=True)
class Kernel:
    """The kernel exp(-d) + t p over points; d is half their squared distance, 2 p their product.

    Attributes:
        trend: The weight t of the scalar product.
    """

    trend: float

    def __call__(self, first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray:
        """The covariance of two sets of points, `(n, columns)` and `(m, columns)`: `(n, m)`."""
        shared = first @ second.T
        near = shared - half_squares(second)
        near -= half_squares(first)[:, None]
        np.exp(near, out=near)
        shared *= self.trend / 2
        near += shared
        return near

    def diagonal(self, points: NDArray[np.floating]) -> NDArray:
        """The variance of each of `points` `(n, columns)`, as `(n,)`."""
        return 1 + self.trend * half_squares(points)


@dataclass(frozen=True)
class Posterior:
    """The mean and the variance of a Gaussian process at any point, given measurements.

    Attributes:
        kernel: The kernel.
        points: The points that hold what was measured, `(m, columns)`.
        whiten: The matrix that makes the prior values at these points independent, `(m, m)`.
        target: The whitened values, `(m,)`.
        level: The mean of the values far from all points.
        variance: The factor of the kernel.
        explain: With inducing points, the matrix whose squares are the variance that is left of
            the values at these points, `(m, m)`.
    """

    kernel: Kernel
    points: Float32
    whiten: Float32
    target: Float32
    level: float
    variance: float
    explain: Float32 | None = None

    def __call__(self, points: Float32) -> tuple[Float32, Float32]:
        """The mean and the variance of the values at `points` `(n, columns)`, each `(n,)`."""
        covariance = self.kernel(points, self.points)
        left = self.kernel.diagonal(points)
        whitened = strmm(1.0, self.whiten, covariance.T, lower=1).T
        left -= 2 * half_squares(whitened)
        if self.explain is not None:
            whitened = strmm(1.0, self.explain, covariance.T, lower=1, overwrite_b=1).T
            left += 2 * half_squares(whitened)
        mean = whitened @ self.target
        return mean + np.float32(self.level), np.float32(self.variance) * np.maximum(left, 1e-6)


def exact(kernel: Kernel, points: FloatArray, values: FloatArray, *, noise: float) -> Posterior:
    """The posterior given the values at `points`; its cost grows with the third power of n.

    Mean and variance of the signal are those with the largest likelihood.

    Args:
        kernel: The kernel.
        points: `(n, columns)`.
        values: `(n,)`.
        noise: The variance of the noise, as a share of that of the signal.
    """
    covariance = kernel(points, points)
    covariance.flat[:: len(points) + 1] += noise
    factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    whiten = _inverse(factor)
    white, ones = whiten @ values, whiten.sum(axis=1)
    level = float(ones @ white / (ones @ ones))
    target = white - level * ones
    variance = max(float(target @ target) / len(points), 1e-12)
    return Posterior(kernel, _single(points), _lower(whiten), _single(target), level, variance)


def sparse(
    kernel: Kernel,
    points: FloatArray,
    values: FloatArray,
    *,
    noise: float,
    inducing: NDArray[np.intp],
) -> Posterior:
    """The posterior given the values at many points, told by their effect on a few of them.

    This is the variational posterior of Titsias 2009 (equations 6 and 10). Memory and time are
    linear in the number n of points. If all points are inducing, the posterior is exact.

    Args:
        kernel: The kernel.
        points: `(n, columns)`.
        values: `(n,)`.
        noise: The variance of the noise, as a share of that of the signal.
        inducing: The positions of the inducing points, `(m,)`.
    """
    held = points[inducing]
    covariance = kernel(held, held)
    covariance.flat[:: len(held) + 1] += _JITTER * kernel.diagonal(held)
    whiten = _inverse(cholesky(covariance, lower=True, overwrite_a=True, check_finite=False))
    seen = whiten @ kernel(held, points) / np.sqrt(noise)  # (m, n)
    within = seen @ seen.T
    within.flat[:: len(held) + 1] += 1
    explain = _inverse(cholesky(within, lower=True, overwrite_a=True, check_finite=False))
    white, ones = explain @ (seen @ values), explain @ seen.sum(axis=1)
    # Products of values under the inverse of their covariance (Woodbury's identity).
    total = len(points) - ones @ ones
    level = float((values.sum() - ones @ white) / total)
    target = white - level * ones
    left = values - level
    variance = max(float(left @ left - target @ target) / noise / len(points), 1e-12)
    return Posterior(
        kernel,
        _single(held),
        _lower(whiten),
        _single(target / np.sqrt(noise)),
        level,
        variance,
        _lower(explain @ whiten),
    )


def half_squares(points: NDArray[np.floating]) -> NDArray:
    """Half the squared length of every row of `points` `(n, columns)`, as `(n,)`."""
    halves = np.einsum("nc,nc->n", points, points)
    halves /= 2
    return halves


def _inverse(factor: FloatArray) -> FloatArray:
    """The inverse of a lower triangular matrix."""
    return np.tril(solve_triangular(factor, np.eye(len(factor)), lower=True, check_finite=False))


def _single(values: FloatArray) -> Float32:
    return values.astype(np.float32)


def _lower(matrix: FloatArray) -> Float32:
    """A lower triangular matrix as BLAS takes it."""
    return np.asfortranarray(np.tril(matrix), dtype=np.float32)
