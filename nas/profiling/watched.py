"""Measuring on a machine that others use too: again, while it is busy with something else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.profiling.backend import Backend
from nas.targets.capability import Bits
from nas.targets.table.rows import Row
from search_spaces.kernels import Kernel

BUSY = 1.25  # times the fastest so far
ATTEMPTS = 4
_WATCH_MS = 20.0
_FIRST_LOOKS = 3


class Watched:
    """A backend whose groups of kernels are measured anew while the machine is slowed.

    A slow spell that outlasts a group slows all its kernels alike, and no statistic over their runs
    can tell. One kernel runs with every group and tells: where it is slower than it has been.

    Args:
        backend: What measures.
        watch: The kernel that tells.
    """

    def __init__(self, backend: Backend, watch: tuple[Kernel, Bits]) -> None:
        self._backend, self._watch = backend, watch
        looks = (backend.measure([watch], budget_ms=_WATCH_MS) for _ in range(_FIRST_LOOKS))
        self._fastest_ms = min(row.latency_ms for [row] in looks)

    def measure(self, kernels: Sequence[tuple[Kernel, Bits]], *, budget_ms: float) -> list[Row]:
        """A row for each kernel, from the least disturbed of at most 4 attempts."""
        best: list[Row] = []
        least_ms = math.inf
        for _ in range(ATTEMPTS):
            *rows, seen = self._backend.measure([*kernels, self._watch], budget_ms=budget_ms)
            self._fastest_ms = min(self._fastest_ms, seen.latency_ms)
            if seen.latency_ms < least_ms:
                best, least_ms = rows, seen.latency_ms
            if least_ms <= BUSY * self._fastest_ms:
                break
        return best
