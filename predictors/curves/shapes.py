"""Shapes of learning curves: falling functions of the epoch, with a prior over their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Shape = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Family:
    """A family of shapes, each 1 after the first epoch and falling towards 0.

    Attributes:
        shape: A function of the epochs `(t,)` and parameters `(n, p)` that gives `(n, t)`.
        center: The mean of the logarithm of each parameter, `(p,)`.
        spread: The standard deviation of the logarithm of each parameter, `(p,)`.
    """

    shape: Shape
    center: tuple[float, ...]
    spread: tuple[float, ...]

    def drawn(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Parameters drawn from the prior, `(count, p)`."""
        normal = rng.standard_normal((count, len(self.center)))
        return np.exp(np.array(self.center) + np.array(self.spread) * normal)

    def grid(self, points: int) -> FloatArray:
        """Parameters of equal prior weight: all pairs of quantiles, `(points ** p, p)`."""
        from scipy.special import ndtri

        quantiles = ndtri((np.arange(points) + 0.5) / points)
        axes = [np.exp(m + s * quantiles) for m, s in zip(self.center, self.spread, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(points ** len(axes), -1)


def _power(epochs: FloatArray, parameters: FloatArray) -> FloatArray:
    exponent, shift = parameters.T[:, :, None]
    return ((epochs + shift) / (1 + shift)) ** -exponent


def _janoschek(epochs: FloatArray, parameters: FloatArray) -> FloatArray:
    rate, bend = parameters.T[:, :, None]
    return np.exp(-rate * (epochs**bend - 1))


def _hill(epochs: FloatArray, parameters: FloatArray) -> FloatArray:
    half, bend = parameters.T[:, :, None]
    return (half + 1) / (half + epochs**bend)


FAMILIES: Mapping[str, Family] = {
    "power": Family(_power, center=(-0.5, 0.0), spread=(0.8, 1.5)),
    "janoschek": Family(_janoschek, center=(-1.0, -0.4), spread=(1.0, 0.4)),
    "hill": Family(_hill, center=(1.0, 0.0), spread=(1.2, 0.4)),
}
"""Power laws, Janoschek's growth curves and Hill's, as in Viering & Loog 2022, table 1."""


NOISE = (-5.0, 1.2)
WANDERING = (-4.5, 1.2)
"""The mean and the standard deviation of the logarithm of a deviation, as a share of the curve's
fall over the whole training: of independent noise, and of the whole path of a random walk."""


def drawn(rng: np.random.Generator, count: int, epochs: int) -> FloatArray:
    """`count` curves of `epochs` values from the prior, `(count, epochs)`.

    A curve is a mixture of one shape of each family, as in Adriaensen et al. 2023, section 4.1, and
    noise. Since real curves follow no shape exactly, a random walk is added. All values are up to a
    factor and a summand, which models take away.
    """
    time = np.arange(1.0, epochs + 1)
    shares = rng.dirichlet(np.ones(len(FAMILIES)), count)
    shapes = [one.shape(time, one.drawn(rng, count)) for one in FAMILIES.values()]
    clean = np.einsum("nf,fnt->nt", shares, np.stack(shapes))
    fall = clean[:, :1] - clean[:, -1:]
    noise, wandering = (
        fall * np.exp(mean + spread * rng.standard_normal((count, 1)))
        for mean, spread in (NOISE, WANDERING)
    )
    walk = rng.standard_normal(clean.shape).cumsum(axis=1) / np.sqrt(epochs)
    return clean + noise * rng.standard_normal(clean.shape) + wandering * walk
