"""A monotone map of losses after which their distribution is close to a normal one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]

_KNEE = 0.15  # the share of the losses, the lowest ones, for which the warp is linear
# Losses count once if they differ by less than this share of the usual distance of two losses: the
# quantile of the distances that a few broken networks, or a crowd of equal ones, hardly move.
_FINEST, _USUAL, _MARKS = 0.002, 0.9, 129
_SOFTNESS = (0.1, 0.3, 1.0, 3.0, np.inf)


class Warp:
    """A monotone map of losses: linear for the lowest losses, logarithmic beyond a knee.

    The losses of a space have a long tail of networks that do not work, which counts less after
    the map (compare Box and Cox 1964). The lowest losses stay linear. A logarithm of the distance
    to the lowest loss would put every better loss infinitely far away. How sharply the map bends
    is chosen by likelihood. Losses that hardly differ count once: a search may find many networks
    of nearly equal loss, and a map as fine as their differences would put every lower loss out of
    reach.

    Args:
        losses: Finite losses `(n,)` to which the map is fitted.
    """

    def __init__(self, losses: FloatArray) -> None:
        losses = _distinct(losses)
        self._knee = float(np.quantile(losses, _KNEE))
        spread = float(np.median(losses) - losses.min()) or float(np.ptp(losses)) or 1.0
        options = [softness * spread for softness in _SOFTNESS]
        self._softness = min(options, key=lambda softness: _misfit(losses - self._knee, softness))
        raw = self._raw(losses)
        self._center, self._scale = float(raw.mean()), float(raw.std()) or 1.0

    def _raw(self, losses: FloatArray) -> FloatArray:
        return _bent(losses - self._knee, self._softness)

    def __call__(self, losses: FloatArray) -> FloatArray:
        """The warped `losses`, `(n,)`, without a unit."""
        return (self._raw(losses) - self._center) / self._scale

    def back(self, mean: FloatArray, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The median loss and a standard deviation below it, for a normal law of the warped loss.

        Args:
            mean: Means of the warped loss, `(n,)`.
            spread: Standard deviations of the warped loss, `(n,)`.

        Returns:
            The median, and its distance to the loss one standard deviation below, each `(n,)`, in
            the unit of the loss.
        """
        mean, spread = mean * self._scale + self._center, spread * self._scale
        median = self._unbent(mean)
        return median + self._knee, median - self._unbent(mean - spread)

    def _unbent(self, raw: FloatArray) -> FloatArray:
        if np.isinf(self._softness):
            return raw
        return np.where(
            raw > 0, self._softness * np.expm1(np.maximum(raw, 0) / self._softness), raw
        )

    def improvement(self, best: FloatArray, mean: FloatArray, spread: FloatArray) -> FloatArray:
        """The expected improvement E[max(best - loss, 0)] in the unit of the loss, `(n, m)`.

        Up to the knee this is Jones et al. 1998, eq. 15. Beyond the knee, where the loss is
        log-normal, the probability of a smaller loss is integrated.

        Args:
            best: Losses to improve on, `(m,)`.
            mean: Predicted means of the warped loss, `(n,)`.
            spread: Predicted standard deviations of the warped loss, `(n,)`.
        """
        mean, spread = mean * self._scale + self._center, np.maximum(spread * self._scale, 1e-9)
        center, scale = mean[:, None].astype(np.float32), spread[:, None].astype(np.float32)
        room = (best - self._knee).astype(np.float32)
        straight = room if np.isinf(self._softness) else np.minimum(room, 0)
        z = (straight - center) / scale
        density = np.exp(-0.5 * z * z) * np.float32(1 / np.sqrt(2 * np.pi))
        expected = scale * (z * ndtr(z) + density)
        beyond = room > straight
        if beyond.any():
            expected[:, beyond] += self._bent_part(room[beyond], center, scale)
        return expected

    def _bent_part(
        self, room: NDArray[np.float32], center: NDArray[np.float32], scale: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The integral of P(loss < u) over u from the knee to the knee plus `room`, `(n, m)`."""
        softness = np.float32(self._softness)
        center, scale = center / softness, scale / softness
        high = (np.log1p(room / softness) - center) / scale
        low = -center / scale
        level = np.exp(np.minimum(center + scale**2 / 2, 40))
        whole = (1 + room / softness) * ndtr(high) - ndtr(low)
        return softness * np.maximum(whole - level * (ndtr(high - scale) - ndtr(low - scale)), 0)


def _distinct(losses: FloatArray) -> FloatArray:
    """The losses `(n,)`, in ascending order, without those that hardly differ from another one.

    Two losses hardly differ if they fall into one of the equal intervals whose length is a small
    share of how far two losses are usually apart.
    """
    marks = np.quantile(losses, np.linspace(0, 1, _MARKS))
    step = _FINEST * float(np.quantile(np.abs(marks[:, None] - marks), _USUAL))
    if not step:
        return np.unique(losses)
    losses = np.sort(losses)
    _, first = np.unique(np.floor((losses - losses[0]) / step), return_index=True)
    return losses[first]


def _bent(excess: FloatArray, softness: float) -> FloatArray:
    """The map itself: values above zero become softness * log(1 + excess / softness).

    Args:
        excess: Losses minus the knee, `(n,)`.
        softness: How far above zero the map bends; infinite for no bend.
    """
    if np.isinf(softness):
        return excess
    return np.where(excess > 0, softness * np.log1p(np.maximum(excess, 0) / softness), excess)


def _misfit(excess: FloatArray, softness: float) -> float:
    """The mean negative log likelihood of a normal law for the losses warped with `softness`."""
    slopes = 0.0
    if not np.isinf(softness):
        slopes = -float(np.log1p(np.maximum(excess, 0) / softness).mean())
    return float(np.log(max(float(_bent(excess, softness).std()), 1e-12))) - slopes
