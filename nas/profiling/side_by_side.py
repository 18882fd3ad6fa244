"""Model files timed end to end, one beside the other: every round runs each of them.

Files are compared by ratios of runs of the same round, which a slow phase of the machine changes
less than it changes times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.profiling.timing import QUIET, WARM_UP, Session

ROUNDS = 60
BURST = 4  # runs of a file in a round: the first finds its weights in no cache, and does not count
_MIDDLE = (0.25, 0.75)
_SURE = 1.96  # standard deviations on each side of an interval of 95 %


@dataclass(frozen=True)
class Beside:
    """The times of a file beside those of a reference file.

    Attributes:
        median_ms: The median over rounds of the file's time, the least of a few runs in a row.
        middle_ms: Half of all rounds took between these times.
        quiet_ms: The time of an undisturbed round, the 10 % quantile, as in latency tables.
        ratio: The median over rounds of the file's time, divided by that of the reference.
        interval: 95 % of all such samples of rounds contain the true median ratio in this interval.
        rounds: The number of rounds.
    """

    median_ms: float
    middle_ms: tuple[float, float]
    quiet_ms: float
    ratio: float
    interval: tuple[float, float]
    rounds: int

    @property
    def is_slower(self) -> bool:
        """Whether the file is slower than the reference beyond what chance explains."""
        return self.interval[0] > 1


def side_by_side(
    files: Mapping[str, Path],
    *,
    reference: str,
    rounds: int = ROUNDS,
    threads: int = 1,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Beside]:
    """The times of model files for one sample, from one run in which they take turns.

    The order within a round moves on by one file from round to round, so that no file always runs
    behind the same other file.

    Args:
        files: The files by name.
        reference: The name of the file with which the others are compared.
        rounds: The number of rounds, at least 2.
        threads: The number of threads inside a kernel.
        clock: The clock, in nanoseconds. With one thread, `time.thread_time_ns` does not count the
            time in which other processes have the core.

    Raises:
        ValueError: If the reference is no file of `files`, or the rounds are too few.
    """
    if reference not in files or rounds < 2:
        raise ValueError(
            f"the reference is one of {', '.join(files)} and rounds are at least 2, given "
            f"{reference!r} and {rounds}"
        )
    sessions = [Session(str(path), threads=threads, clock=clock) for path in files.values()]
    for session in sessions:
        for _ in range(WARM_UP):
            session()
    times = np.empty((rounds, len(files)))
    for number in range(rounds):
        for place in np.roll(np.arange(len(files)), -number):
            times[number, place] = min([sessions[place]() for _ in range(BURST)][1:])
    base = times[:, list(files).index(reference)]
    return {name: _beside(own, base) for name, own in zip(files, times.T, strict=True)}


def _beside(own: np.ndarray, base: np.ndarray) -> Beside:
    ratios = np.sort(own / base)
    low, high = np.quantile(own, _MIDDLE)
    # The interval of a median by order statistics (Conover 1999, section 3.2).
    reach = _SURE * np.sqrt(len(ratios)) / 2
    first = max(0, int(np.floor(len(ratios) / 2 - reach)))
    last = min(len(ratios) - 1, int(np.ceil(len(ratios) / 2 + reach)))
    return Beside(
        median_ms=float(np.median(own)),
        middle_ms=(float(low), float(high)),
        quiet_ms=float(np.quantile(own, QUIET)),
        ratio=float(np.median(ratios)),
        interval=(float(ratios[first]), float(ratios[last])),
        rounds=len(own),
    )
