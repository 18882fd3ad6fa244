"""The rule by which a device gets one of the evaluated subnets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


def good_enough(errors: FloatArray, allowed: Mask, *, tolerance: float) -> Mask:
    """Whether a subnet is `allowed` and at most `tolerance` worse than the best of these."""
    if not allowed.any():
        return allowed
    return allowed & (errors <= errors[allowed].min() + tolerance)


def cheapest(
    errors: FloatArray, cost: FloatArray, allowed: Mask, *, tolerance: float = 0.0
) -> int | None:
    """The position of the subnet to choose; None where no subnet is allowed.

    The subnet of the least cost among those that are `good_enough`; of equal costs that of the
    lower error, then the first.

    Args:
        errors: Error of every subnet, `(n,)`.
        cost: What to minimise, `(n,)`.
        allowed: Whether a subnet may be chosen at all, `(n,)`.
        tolerance: How much worse than the best, in error, a cheaper subnet may be.
    """
    good = np.flatnonzero(good_enough(errors, allowed, tolerance=tolerance))
    return min(good.tolist(), key=lambda row: (cost[row], errors[row]), default=None)
