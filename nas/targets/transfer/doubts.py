"""A look at measured networks: one that was disturbed, or all in another unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_ODD = 3.0  # times longer or shorter than known devices foretell
_DEVIATIONS = 5.0
_NORMAL = 1.4826  # the deviation of a normal variable over its median absolute deviation
_FAR = 300.0  # times slower than every known device, or faster


def measured_doubts(
    measured_ms: FloatArray, known_ms: FloatArray, *, names: Sequence[str]
) -> Iterator[str]:
    """Warnings about latencies that were measured on a new device, in words.

    Networks are compared by the known device that resembles the new one most. A median, by which
    the error of a prediction is told, does not see one network among ten.

    Args:
        measured_ms: The measured latency of each network, `(networks,)`.
        known_ms: Their latencies on known devices, `(networks, devices)`.
        names: The names of the known devices.
    """
    if not (np.isfinite(known_ms) & (known_ms > 0)).all():
        return  # a known device without figures foretells nothing
    ratios = np.log(measured_ms[:, None] / known_ms)
    centers = np.median(ratios, axis=0)
    apart = np.abs(ratios - centers)
    deviations = _NORMAL * np.median(apart, axis=0)
    device = int(np.argmin(deviations))
    times = np.exp(ratios[:, device] - centers[device])
    odd = apart[:, device] > max(np.log(_ODD), _DEVIATIONS * deviations[device])
    for number in np.flatnonzero(odd).tolist():
        slower = times[number] > 1
        factor = times[number] if slower else 1 / times[number]
        yield (
            f"measured network {number + 1} took {measured_ms[number]:.4g} ms, {factor:.2g} times "
            f"{'longer' if slower else 'shorter'} than {names[device]} and the other networks "
            "foretell; was the run disturbed? measure it again"
        )
    if (np.exp(centers) > _FAR).all() or (np.exp(centers) < 1 / _FAR).all():
        near = int(np.argmin(np.abs(centers)))
        factor = float(np.exp(abs(centers[near])))
        yield (
            f"the measured networks took {factor:,.0f} times as "
            f"{'long' if centers[near] > 0 else 'short'} as on {names[near]}, the nearest known "
            "device; are they milliseconds?"
        )
