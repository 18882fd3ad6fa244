"""Fronts of measured latency against error, held against one another.

A front is an array `(n, 2)` of latencies in ms and errors in percent; some of its points may be
dominated, since it was picked by other costs than those that were measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.problem.front import hypervolume, nondominated

FloatArray = NDArray[np.float64]


def plane(points: FloatArray) -> FloatArray:
    """Log latency and error: twice as fast counts the same anywhere."""
    return np.column_stack([np.log10(points[:, 0]), points[:, 1]])


def corner_of(everything: FloatArray) -> FloatArray:
    """A little worse than the worst of the best front known, in `plane`."""
    best = plane(everything)
    best = best[nondominated(best)]
    return best.max(axis=0) + 0.1 * np.ptp(best, axis=0)


def share(front: FloatArray, whole: FloatArray, corner: FloatArray) -> float:
    """The part of the hypervolume of `whole` that `front` reaches."""
    return hypervolume(plane(front), corner) / hypervolume(plane(whole), corner)


def slower(mine: FloatArray, other: FloatArray) -> float:
    """Median ratio, less 1, of the fastest networks of at most the same error."""
    reached = max(mine[:, 1].min(), other[:, 1].min())
    levels = np.concatenate([mine[:, 1], other[:, 1]])
    fastest = [
        np.where(one[:, 1] <= levels[levels >= reached, None], one[:, 0], np.inf).min(axis=1)
        for one in (mine, other)
    ]
    return float(np.median(fastest[0] / fastest[1])) - 1


def beaten(mine: FloatArray, other: FloatArray) -> float:
    """The share of `mine` that some point of `other` dominates."""
    no_worse = (other[None] <= mine[:, None]).all(axis=2)
    better = (other[None] < mine[:, None]).any(axis=2)
    return float((no_worse & better).max(axis=1).mean())
