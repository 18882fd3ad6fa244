"""The loop that measures a latency table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from nas.profiling.backend import Backend
from nas.profiling.rows_file import append, opened
from nas.profiling.timing import GROUP
from nas.profiling.watched import Watched
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey
from search_spaces.kernels import Kernel

BUDGET_MS = 25.0
Progress = Callable[[int, int], None]


def profile(
    kernels: Iterable[tuple[Kernel, Numerics]],
    *,
    path: Path,
    backend: Backend,
    budget_ms: float = BUDGET_MS,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure all kernels without a row in the table at `path`; returns the whole table.

    Rows are appended as they are measured, so that a killed run continues where it stopped. The
    latency of a kernel is the 10 % quantile over interleaved repetitions, less the cost of a call.

    Args:
        kernels: Kernels with the bits in which they compute, such as `HardwareTarget.natively`
            lists for a space.
        path: The file of the table, which is made if it does not exist.
        backend: The backend; all rows of a table are measured under the conditions of the backend.
        budget_ms: The time for the repetitions of a kernel.
        progress: A function that is called with the number of kernels done and the total.

    Raises:
        TargetError: If the table at `path` cannot be read or was measured under other conditions,
            or if a kernel cannot be timed.
    """
    wanted = {KernelKey.of(kernel, numerics): (kernel, numerics) for kernel, numerics in kernels}
    require(backend, wanted.values())
    table = opened(path, backend.conditions())
    rows = dict(table.rows)
    left = [key for key in wanted if key not in rows]
    report = progress or (lambda *_: None)
    report(len(wanted) - len(left), len(wanted))
    if not left:
        return LatencyTable(rows, table.notes)
    watched = Watched(backend, wanted[left[0]])
    for start in range(0, len(left), GROUP):
        group = left[start : start + GROUP]
        found = watched.measure([wanted[key] for key in group], budget_ms=budget_ms)
        measured = dict(zip(group, found, strict=True))
        append(path, measured)
        rows |= measured
        report(len(wanted) - len(left) + start + len(group), len(wanted))
    return LatencyTable(rows, table.notes)


def require(backend: Backend, kernels: Iterable[tuple[Kernel, Numerics]]) -> None:
    """Raise `TargetError` if `backend` cannot time one of `kernels`."""
    for kernel, numerics in kernels:
        refusal = backend.refusal(kernel, numerics)
        if refusal is not None:
            raise TargetError(refusal)
