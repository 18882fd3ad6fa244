"""Courses of the learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Callable

# The share of the steps after the warm-up that is done, and the share at which quantization begins,
# both 0 to 1 -> the learning rate over the highest.
Rate = Callable[[float, float], float]


def cosine(share: float, _quantized_from: float) -> float:
    """Half a cosine from 1 down to 0 (Loshchilov & Hutter 2017, equation 5, without restarts)."""
    return (1 + math.cos(math.pi * share)) / 2


def cooldown(share: float, quantized_from: float) -> float:
    """1 to the end of full precision, then half a cosine down to 0 over the quantized epochs.

    The rate falls once, while the network learns to be rounded, and not before ("Compute-Optimal
    Quantization-Aware Training", where the gain is small and mostly at 4 to 6 bits).

    Raises:
        ValueError: If no epoch is quantized, so that the rate would never fall.
    """
    if quantized_from >= 1:
        raise ValueError(
            "the schedule 'cooldown' lowers the learning rate in quantized epochs only, and "
            "quantized_epochs is 0; give quantized epochs, or another schedule"
        )
    if share < quantized_from:
        return 1.0
    return (1 + math.cos(math.pi * (share - quantized_from) / (1 - quantized_from))) / 2
