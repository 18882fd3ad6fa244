"""The comparison of fronts of measured latency against error.

A front is an array `(n, 2)` of latencies in ms and errors in percent. Some of its points may be
dominated, since they were chosen by other costs than the measured ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.problem.front import hypervolume, nondominated

FloatArray = NDArray[np.float64]


def plane(points: FloatArray) -> FloatArray:
    """The points as logarithm of latency and error, so that ratios of latencies are compared."""
    return np.column_stack([np.log10(points[:, 0]), points[:, 1]])


def corner_of(everything: FloatArray) -> FloatArray:
    """A reference point in `plane`, slightly worse than the worst of the best known front."""
    best = plane(everything)
    best = best[nondominated(best)]
    return best.max(axis=0) + 0.1 * np.ptp(best, axis=0)


def share(front: FloatArray, whole: FloatArray, corner: FloatArray) -> float:
    """The share of the hypervolume of `whole` that `front` reaches."""
    return hypervolume(plane(front), corner) / hypervolume(plane(whole), corner)


def slower(mine: FloatArray, other: FloatArray) -> float:
    """The median over error levels of (fastest in `mine` / fastest in `other`) - 1.

    Fastest is the least latency of a point with at most that error.
    """
    reached = max(mine[:, 1].min(), other[:, 1].min())
    levels = np.concatenate([mine[:, 1], other[:, 1]])
    fastest = [
        np.where(one[:, 1] <= levels[levels >= reached, None], one[:, 0], np.inf).min(axis=1)
        for one in (mine, other)
    ]
    return float(np.median(fastest[0] / fastest[1])) - 1


def beaten(mine: FloatArray, other: FloatArray) -> float:
    """The share of the points of `mine` that some point of `other` dominates."""
    no_worse = (other[None] <= mine[:, None]).all(axis=2)
    better = (other[None] < mine[:, None]).any(axis=2)
    return float((no_worse & better).max(axis=1).mean())
