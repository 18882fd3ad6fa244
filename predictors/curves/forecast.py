"""The prediction of a curve's value at a later epoch, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

FloatArray = NDArray[np.float64]

LEAST = 2  # the fewest values that tell the scale of a curve


@dataclass(frozen=True, eq=False)
class Forecast:
    """The predicted distribution of one value for each of some curves: a mixture of normals.

    Attributes:
        weights: The weight of each component, `(n, components)`; each row adds up to 1.
        means: The mean of each component, `(n, components)`.
        deviations: The standard deviation of each component, `(n, components)`, positive.
    """

    weights: FloatArray
    means: FloatArray
    deviations: FloatArray

    @property
    def mean(self) -> FloatArray:
        """The means of the mixtures, `(n,)`."""
        return (self.weights * self.means).sum(axis=-1)

    @property
    def deviation(self) -> FloatArray:
        """The standard deviations of the mixtures, `(n,)`."""
        around = self.means - self.mean[:, None]
        return np.sqrt((self.weights * (self.deviations**2 + around**2)).sum(axis=-1))

    def chance_below(self, value: float) -> FloatArray:
        """The probability that each value lies below `value`, `(n,)`."""
        return (self.weights * ndtr((value - self.means) / self.deviations)).sum(axis=-1)

    def log_density(self, values: FloatArray) -> FloatArray:
        """The logarithm of the density at `values` `(n,)`."""
        standard = (values[:, None] - self.means) / self.deviations
        each = -0.5 * standard**2 - np.log(self.deviations) - 0.5 * np.log(2 * np.pi)
        return np.asarray(logsumexp(each, axis=-1, b=self.weights))


class CurveModel(Protocol):
    """A function that predicts the end of learning curves from their beginning."""

    def __call__(self, curves: FloatArray, epochs: int, /) -> Forecast:
        """The forecast of the value after the last epoch.

        Args:
            curves: The figure after each epoch so far, `(n, t)`; smaller is better.
            epochs: The number of epochs of the whole training, more than `t`.

        Raises:
            ValueError: Fewer than two epochs are known, `epochs` does not lie behind them, or a
                value is not finite.
        """
        ...


def checked(curves: FloatArray, epochs: int) -> FloatArray:
    """The curves as an array `(n, t)` of finite numbers, as `CurveModel` takes them."""
    held = np.asarray(curves, dtype=np.float64)
    if held.ndim != 2 or held.shape[1] < LEAST:
        raise ValueError(
            f"curves have the shape (curves, epochs) with at least {LEAST} epochs, given "
            f"{held.shape}; wait for another epoch"
        )
    if epochs <= held.shape[1]:
        raise ValueError(
            f"a forecast looks beyond the {held.shape[1]} epochs that are known, given "
            f"epochs = {epochs}; give the number of epochs of the whole training"
        )
    if not np.isfinite(held).all():
        raise ValueError("every value of a learning curve is a finite number; leave NaN out")
    return held
