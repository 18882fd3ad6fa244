"""Courses of the learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Callable

# The share of the steps after the warm-up that is done, and the share at which quantization begins,
# both 0 to 1 -> the learning rate over the highest.
Rate = Callable[[float, float], float]

_FALLS_FROM = 0.6


def cosine(share: float, _quantized_from: float) -> float:
    """Half a cosine from 1 down to 0 (Loshchilov & Hutter 2017, equation 5, without restarts)."""
    return (1 + math.cos(math.pi * share)) / 2


def cooldown(share: float, quantized_from: float) -> float:
    """1 to the end of full precision, then half a cosine down to 0 over the quantized epochs.

    The rate falls once, while the network learns to be rounded, and not before ("Compute-Optimal
    Quantization-Aware Training"). If no epoch is quantized, the rate falls over the last 40 % of
    the steps, the share of quantized epochs in `TrainingSettings`.
    """
    begin = quantized_from if quantized_from < 1 else _FALLS_FROM
    if share < begin:
        return 1.0
    return (1 + math.cos(math.pi * (share - begin) / (1 - begin))) / 2
