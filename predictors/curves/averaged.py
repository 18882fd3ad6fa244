"""Forecasts by fitted shapes: least squares for each of many, weighted by how well each fits."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from predictors.curves.forecast import Forecast, checked
from predictors.curves.shapes import FAMILIES

FloatArray = NDArray[np.float64]

_POINTS = 6


def families(curves: FloatArray, epochs: int) -> Forecast:
    """The average over shapes of all families, each fitted as `c + a * shape` by least squares.

    The weight of a shape is the marginal likelihood of the curve under flat priors of `c`, `a` and
    the logarithm of the noise (Bishop 2006, section 3.5); shapes that rise have none. The deviation
    contains that of the noise and of `c` and `a`.
    """
    return _averaged(curves, epochs, tuple(FAMILIES))


def power_law(curves: FloatArray, epochs: int) -> Forecast:
    """As `families`, with power laws alone: `c + a * (t + b) ** -d`."""
    return _averaged(curves, epochs, ("power",))


def last_value(curves: FloatArray, epochs: int) -> Forecast:
    """The last value so far, with the deviation of a random walk with the steps so far."""
    held = checked(curves, epochs)
    steps = np.sqrt((np.diff(held, axis=1) ** 2).mean(axis=1))
    spread = np.maximum(steps * np.sqrt(epochs - held.shape[1]), _TINY)
    return Forecast(np.ones((len(held), 1)), held[:, -1:], spread[:, None])


_TINY = 1e-12


def _averaged(curves: FloatArray, epochs: int, names: tuple[str, ...]) -> Forecast:
    held = checked(curves, epochs)
    known = held.shape[1]
    shapes = _shapes(names, epochs)
    begun, end = shapes[:, :known], shapes[:, -1]
    center = begun.mean(axis=1)
    around = begun - center[:, None]
    power = (around**2).sum(axis=1)
    level = held.mean(axis=1)
    height = (held - level[:, None]) @ around.T / power  # (n, shapes)
    left = ((held - level[:, None]) ** 2).sum(axis=1)[:, None] - height**2 * power
    freedom = max(known - 2, 1)
    floor = (_ROUNDING * np.ptp(held, axis=1)[:, None] + _TINY) ** 2 * known
    left = np.maximum(left, 0) + floor
    log_weight = -0.5 * freedom * np.log(left) - 0.5 * np.log(power)
    log_weight = np.where(height > 0, log_weight, -np.inf)
    flat = np.logical_not(np.isfinite(log_weight).any(axis=1))
    log_weight[flat], height[flat] = 0.0, 0.0  # a curve that only rises: its level is all it tells
    weights = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    reach = 1 + 1 / known + (end - center) ** 2 / power
    reach = np.where(flat[:, None], 1 + 1 / known, reach)
    deviations = np.sqrt(left / freedom * reach)
    means = level[:, None] + height * (end - center)
    return Forecast(weights / weights.sum(axis=1, keepdims=True), means, deviations)


_ROUNDING = 1e-4  # no curve is known better than this share of its fall


@cache
def _shapes(names: tuple[str, ...], epochs: int) -> FloatArray:
    """All shapes of some families, `(shapes, epochs)`, without those that are flat."""
    time = np.arange(1.0, epochs + 1)
    every = [FAMILIES[name].shape(time, FAMILIES[name].grid(_POINTS)) for name in names]
    found = np.concatenate(every)
    return found[found[:, 0] - found[:, 1] > _ROUNDING]
