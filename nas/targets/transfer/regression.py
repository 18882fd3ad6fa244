"""Bayesian regression of the latency on a new device from latencies on known devices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SHARES = np.array([0.03, 0.1, 0.3])
NOISES = np.logspace(-5, 0, 11)
FREEDOM = 4.0
ROUNDS = 6
FEWEST = 3
_DESIGN_SHARE, _DESIGN_NOISE = 0.1, 0.1
_LEVEL_VARIANCE = 100.0
_LOWEST_LEVEL = 0.3


class LatencyTransfer:
    """A Bayesian regression of the latency on a new device from latencies on known devices.

    The latency on a known device is given in parts, one per class of operators. Before anything is
    measured, the latency on the new device is expected to be a weighted sum of the latencies on
    whole known devices, plus a weighted sum of single parts, which has one of `SHARES` of the
    variance. The noise grows with the latency and has heavy tails (Student's t). Shares and noise
    are averaged over their posterior, so that nothing has to be tuned per device.

    Args:
        parts: Milliseconds of a sample of the space's networks on every known device,
            `(networks, devices, classes)`. The sample sets the scales, and `choose` picks from it.

    Raises:
        ValueError: If a latency is not finite, or no known device distinguishes the networks.
    """

    def __init__(self, parts: FloatArray) -> None:
        parts = _finite(parts)
        self._center = parts.mean(axis=0)
        totals = parts.sum(axis=2)
        spread = totals.std(axis=0)
        differs = spread > 1e-9 * np.abs(totals).max(axis=0)
        if not differs.any():
            raise ValueError(
                "no known device tells the networks apart: every latency is constant; give a "
                "device whose latencies differ"
            )
        scale = np.zeros(len(spread))
        scale[differs] = 1 / (spread[differs] * np.sqrt(differs.sum()))
        self._scale = scale
        self._split_scale = 1.0
        self._split_scale = 1 / np.sqrt((self._features(parts)[1] ** 2).sum(axis=1).mean())
        self._pool = self._features(parts)

    def choose(self, count: int) -> NDArray[np.int64]:
        """The indices `(count,)` of the networks of the sample that should be measured.

        Each is the network that most lowers the mean variance of the sample's predicted latencies,
        given those before it (A-optimal design; Pukelsheim 2006, chapter 6).

        Raises:
            ValueError: If `count` is below `FEWEST` or above the size of the sample.
        """
        whole, split = self._pool
        if not FEWEST <= count <= len(whole):
            raise ValueError(f"choose {FEWEST} to {len(whole)} networks, given {count}")
        level = np.full((len(whole), 1), np.sqrt(_LEVEL_VARIANCE))
        rows = np.hstack(
            [whole * np.sqrt(1 - _DESIGN_SHARE), split * np.sqrt(_DESIGN_SHARE), level]
        )
        covariance = rows @ rows.T
        picks: list[int] = []
        for _ in range(count):
            variance = np.diag(covariance) + _DESIGN_NOISE
            gain = (covariance**2).mean(axis=0) / variance
            gain[picks] = -1
            picks.append(int(np.argmax(gain)))
            column = covariance[:, picks[-1]] / np.sqrt(variance[picks[-1]])
            covariance -= np.outer(column, column)
        return np.array(picks)

    def fit(self, parts: FloatArray, latency_ms: FloatArray) -> Transferred:
        """The latency model of the new device, fitted to measured networks.

        Args:
            parts: Milliseconds of the measured networks on the known devices,
                `(networks, devices, classes)`.
            latency_ms: Their latencies measured on the new device, `(networks,)`.

        Raises:
            ValueError: If there are fewer than `FEWEST` measurements, if one is not positive and
                finite, or if all are equal.
        """
        measured = _measured(latency_ms, len(parts))
        whole, split = self._features(_finite(parts))
        grams = np.stack([whole @ whole.T, split @ split.T])
        posterior = _converged(grams, measured / np.median(measured))
        return Transferred(measured, self, whole, split, grams, posterior)

    def _features(self, parts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The standardised latencies of whole devices and of parts.

        Their shapes are `(networks, devices)` and `(networks, devices x classes)`.
        """
        split = (parts - self._center) * self._scale[:, None]
        return split.sum(axis=2), split.reshape(len(parts), -1) * self._split_scale

    def _coefficients(self, whole: FloatArray, split: FloatArray) -> tuple[FloatArray, float]:
        """The factors of the parts, `(devices, classes)`, and the constant, from feature weights.

        Args:
            whole: The weights of whole devices, `(devices,)`.
            split: The weights of parts, `(devices x classes,)`.
        """
        split = split.reshape(self._center.shape) * self._split_scale
        factors = (whole[:, None] + split) * self._scale[:, None]
        return factors, -float((factors * self._center).sum())


@dataclass(frozen=True, eq=False)
class Transferred:
    """The latency model of a new device; its mean is linear in the parts of the known devices.

    Attributes:
        measured_ms: The measured latencies, `(measured,)`.
    """

    measured_ms: FloatArray
    _prior: LatencyTransfer
    _whole: FloatArray
    _split: FloatArray
    _grams: FloatArray
    _posterior: _Posterior

    @cached_property
    def left_out_ms(self) -> FloatArray:
        """The latency of every measured network, predicted from all others, `(measured,)`."""
        y = self.measured_ms / self._unit
        return np.array([_left_out(self._grams, y, row) for row in range(len(y))]) * self._unit

    @cached_property
    def _unit(self) -> float:
        return float(np.median(self.measured_ms))

    @property
    def relative_error(self) -> float:
        """The median of |predicted / measured - 1|, each network predicted from all others."""
        return float(np.median(np.abs(self.left_out_ms / self.measured_ms - 1)))

    def linear(self) -> tuple[FloatArray, float]:
        """The mean latency as a linear function of parts: factors `(devices, classes)`, constant.

        The constant is in ms.
        """
        dual = self._posterior.dual * self._posterior.probability[:, None]
        share = self._posterior.share[:, None]
        whole = self._whole.T @ ((1 - share) * dual).sum(axis=0)
        split = self._split.T @ (share * dual).sum(axis=0)
        factors, constant = self._prior._coefficients(whole, split)
        bias = float(self._posterior.bias @ self._posterior.probability)
        return factors * self._unit, (constant + bias) * self._unit

    def predict(self, parts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of a measurement in ms, each `(networks,)`.

        Args:
            parts: Milliseconds on the known devices, `(networks, devices, classes)`.
        """
        whole, split = self._prior._features(_finite(parts))
        cross = np.stack([whole @ self._whole.T, split @ self._split.T])
        own = np.stack([(whole**2).sum(axis=1), (split**2).sum(axis=1)])
        mean, variance = self._posterior.predict(cross, own)
        return mean * self._unit, np.sqrt(variance) * self._unit


class _Posterior:
    """Gaussian processes with an unknown constant, one per point of a grid of shares and noises.

    Args:
        grams: The scalar products of the measured networks' features, `(2, measured, measured)`:
            those of whole devices, then those of parts.
        y: The measured latencies divided by their median, `(measured,)`.
        variance: The relative noise variance of each measurement, `(measured,)`.
        level: The latency at which the noise of new measurements has relative variance 1.

    Attributes:
        probability: The posterior probability of each point of the grid, `(points,)`. The variance
            of the signal and the constant are integrated out.
        dual: The weights of the measurements, `(points, measured)`.
        bias: The constant, `(points,)`.
        share: The share of the parts in the prior variance, `(points,)`.
    """

    def __init__(self, grams: FloatArray, y: FloatArray, variance: FloatArray, level: float):
        self.share = np.repeat(SHARES, len(NOISES))
        noise = np.tile(NOISES, len(SHARES))
        self._noise, self._level = noise, level
        share = self.share[:, None, None]
        errors = noise[:, None] * variance
        covariance = (1 - share) * grams[0] + share * grams[1]
        covariance = covariance + errors[:, :, None] * np.eye(len(y))
        inverse = np.linalg.inv(covariance)
        self._inverse, self._ones = inverse, inverse.sum(axis=2)
        self._total = self._ones.sum(axis=1)
        self.bias = self._ones @ y / self._total
        projected = inverse - self._ones[:, :, None] * (self._ones / self._total[:, None])[:, None]
        self.dual = projected @ y
        misfit = np.maximum(self.dual @ y, 1e-12)
        determinant = np.linalg.slogdet(covariance)[1] + np.log(self._total)
        evidence = -0.5 * ((len(y) - 1) * np.log(misfit) + determinant)
        self.probability = np.exp(evidence - evidence.max())
        self.probability /= self.probability.sum()
        self._signal = misfit / (len(y) - 1)
        residual = errors * self.dual
        self.fitted = y - self.probability @ residual
        doubt = errors - errors**2 * np.diagonal(projected, axis1=1, axis2=2)
        squares = residual**2 / self._signal[:, None] + np.maximum(doubt, 0)
        self.squared_errors = self.probability @ (squares / noise[:, None])

    def predict(self, cross: FloatArray, own: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the variance of a measurement, each `(networks,)`.

        Args:
            cross: The prior covariances with the measured networks, `(2, networks, measured)`.
            own: The prior variances, `(2, networks)`.
        """
        means = np.empty((len(self.share), own.shape[1]))
        variances = np.empty_like(means)
        for point, share in enumerate(self.share):
            near = (1 - share) * cross[0] + share * cross[1]
            means[point] = self.bias[point] + near @ self.dual[point]
            explained = ((near @ self._inverse[point]) * near).sum(axis=1)
            level = (1 - near @ self._ones[point]) ** 2 / self._total[point]
            prior = (1 - share) * own[0] + share * own[1]
            noise = (
                self._noise[point] * (np.maximum(means[point], _LOWEST_LEVEL) / self._level) ** 2
            )
            variances[point] = self._signal[point] * (prior - explained + level + noise)
        mean = self.probability @ means
        return mean, self.probability @ (variances + (means - mean) ** 2)


def _converged(grams: FloatArray, y: FloatArray) -> _Posterior:
    """The posterior with a noise that grows with the latency and has heavy tails.

    The noise of each measurement is found by expectation maximisation of the Student-t likelihood
    (Lange, Little and Taylor 1989).
    """
    posterior = _Posterior(grams, y, np.ones(len(y)), 1.0)
    for _ in range(ROUNDS):
        heights = np.maximum(posterior.fitted, _LOWEST_LEVEL)
        level = float(np.exp(np.log(heights).mean()))
        relative = (heights / level) ** 2
        weight = (FREEDOM + 1) / (FREEDOM + posterior.squared_errors / relative)
        posterior = _Posterior(grams, y, relative / weight, level)
    return posterior


def _left_out(grams: FloatArray, y: FloatArray, row: int) -> float:
    """The prediction of measurement `row` from all others."""
    others = np.flatnonzero(np.arange(len(y)) != row)
    posterior = _converged(grams[:, others[:, None], others], y[others])
    mean, _ = posterior.predict(grams[:, [row]][:, :, others], grams[:, [row], [row]])
    return float(mean[0])


def _finite(parts: FloatArray) -> FloatArray:
    parts = np.asarray(parts, dtype=np.float64)
    if parts.ndim != 3 or not parts.size:
        raise ValueError(
            f"latencies of known devices are (networks, devices, classes), given {parts.shape}"
        )
    if not np.isfinite(parts).all():
        row, device, _ = (int(i) for i in np.argwhere(~np.isfinite(parts))[0])
        raise ValueError(
            f"known device {device} has no finite latency for network {row}; leave the device out, "
            "or narrow the space to what it runs"
        )
    return parts


def _measured(latency_ms: FloatArray, networks: int) -> FloatArray:
    measured = np.asarray(latency_ms, dtype=np.float64)
    if measured.shape != (networks,) or networks < FEWEST:
        raise ValueError(
            f"a transfer needs one latency per measured network and at least {FEWEST}, given "
            f"{measured.shape} latencies for {networks} networks"
        )
    wrong = np.flatnonzero(~(np.isfinite(measured) & (measured > 0)))
    if len(wrong):
        raise ValueError(
            f"a measured latency is positive and finite, given {measured[wrong[0]]} ms for network "
            f"{int(wrong[0])}; measure it again or leave it out"
        )
    if np.ptp(measured) == 0:
        raise ValueError(
            f"all {networks} measurements are {measured[0]} ms, so nothing tells networks apart; "
            "measure larger and smaller ones, or with a finer clock"
        )
    return measured
