"""A monotone map that makes measured losses look normal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]

_SOFTNESS = (0.1, 0.3, 1.0, 3.0, np.inf)


class Warp:
    """log(loss - least + softness), standardised; the softness by likelihood, linear included.

    Losses of a space have a long tail of broken networks. Under the warp they weigh less, as in
    Box and Cox 1964.

    Args:
        losses: Finite losses `(n,)` to fit to.
    """

    def __init__(self, losses: FloatArray) -> None:
        self._least = float(losses.min())
        spread = float(np.median(losses) - self._least) or float(np.ptp(losses)) or 1.0
        options = [softness * spread for softness in _SOFTNESS]
        self._softness = min(options, key=lambda softness: _misfit(losses, self._least, softness))
        raw = self._raw(losses)
        self._center, self._scale = float(raw.mean()), float(raw.std()) or 1.0

    def _raw(self, losses: FloatArray) -> FloatArray:
        return _warped(losses, self._least, self._softness)

    def __call__(self, losses: FloatArray) -> FloatArray:
        """The warped losses, `(n,)`; for losses as large as the least of those fitted to."""
        return (self._raw(losses) - self._center) / self._scale

    def back(self, mean: FloatArray, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The median loss, and how far below it one standard deviation of the warped loss lies."""
        mean, spread = mean * self._scale + self._center, spread * self._scale
        if np.isinf(self._softness):
            return mean + self._least, spread
        median = np.exp(mean)
        return median + self._least - self._softness, -median * np.expm1(-spread)

    def improvement(self, best: FloatArray, mean: FloatArray, spread: FloatArray) -> FloatArray:
        """E[max(best - loss, 0)] in units of the loss, `(n, m)` for `n` predictions, `m` losses.

        Expected improvement (Jones et al. 1998, eq. 15) where the warp is linear, else that of a
        shifted log-normal loss.
        """
        mean, spread = mean * self._scale + self._center, np.maximum(spread * self._scale, 1e-9)
        center, scale = mean[:, None].astype(np.float32), spread[:, None].astype(np.float32)
        if np.isinf(self._softness):
            z = ((best - self._least).astype(np.float32) - center) / scale
            density = np.exp(-0.5 * z * z) * np.float32(1 / np.sqrt(2 * np.pi))
            return scale * (z * ndtr(z) + density)
        # A best loss below the range of the warp cannot be improved upon.
        room = np.maximum(best - self._least + self._softness, 1e-12).astype(np.float32)
        z = (np.log(room) - center) / scale
        level = np.exp(center + scale**2 / 2)
        return np.maximum(room * ndtr(z) - level * ndtr(z - scale), 0.0)


def _warped(losses: FloatArray, least: float, softness: float) -> FloatArray:
    return losses - least if np.isinf(softness) else np.log(losses - least + softness)


def _misfit(losses: FloatArray, least: float, softness: float) -> float:
    """Negative log likelihood of a normal law for the warped losses."""
    warped = _warped(losses, least, softness)
    slopes = 0.0 if np.isinf(softness) else -float(warped.mean())
    return float(np.log(max(float(warped.std()), 1e-12))) - slopes
