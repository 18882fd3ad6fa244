"""Measuring on a shared machine: groups are measured again if other work slowed the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.profiling.backend import Backend
from nas.targets.numerics import Numerics
from nas.targets.table.rows import Row
from search_spaces.kernels import Kernel

BUSY = 1.25  # the machine is slowed if the watched kernel takes so many times its fastest time
ATTEMPTS = 4
_WATCH_MS = 20.0
_FIRST_LOOKS = 3


class Watched:
    """A backend that measures a group of kernels again while the machine is slowed by other work.

    A slow phase that outlasts a group slows all its kernels equally, so that no statistic over
    their runs reveals the phase. The same watched kernel therefore runs with every group: the
    machine is slowed if this kernel takes longer than it took before.

    Args:
        backend: The backend that measures.
        watch: The kernel to watch, and its bits.
    """

    def __init__(self, backend: Backend, watch: tuple[Kernel, Numerics]) -> None:
        self._backend, self._watch = backend, watch
        looks = (backend.measure([watch], budget_ms=_WATCH_MS) for _ in range(_FIRST_LOOKS))
        self._fastest_ms = min(row.latency_ms for [row] in looks)

    def measure(self, kernels: Sequence[tuple[Kernel, Numerics]], *, budget_ms: float) -> list[Row]:
        """A row for each kernel, from the least disturbed of at most four attempts."""
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
