"""The loop that measures a latency table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from nas.profiling.backend import Backend
from nas.profiling.rows_file import append, opened
from nas.profiling.timing import GROUP
from nas.profiling.watched import Watched
from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey
from search_spaces.kernels import Kernel

BUDGET_MS = 25.0
Progress = Callable[[int, int], None]


def profile(
    kernels: Iterable[tuple[Kernel, Bits]],
    *,
    path: Path,
    backend: Backend,
    budget_ms: float = BUDGET_MS,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure every kernel that the table at `path` has no row for, and give the whole table.

    Rows are appended as they are measured, so a run that was killed goes on where it stopped. A
    kernel's latency is the 10 % quantile over interleaved repetitions, less what the call costs.

    Args:
        kernels: Kernels with the bits they compute in, as `HardwareTarget.natively` lists those
            of a space.
        path: The table's file, made where it does not exist.
        backend: What runs them; a table holds measurements under its conditions only.
        budget_ms: Time spent on the repetitions of one kernel.
        progress: Called with the number of kernels done and in all.

    Raises:
        TargetError: If the table at `path` cannot be read or was measured under other conditions,
            or if a kernel has no form in which it can be timed.
    """
    wanted = {KernelKey.of(kernel, bits): (kernel, bits) for kernel, bits in kernels}
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


def require(backend: Backend, kernels: Iterable[tuple[Kernel, Bits]]) -> None:
    """Raise `TargetError` where `backend` cannot time one of `kernels`."""
    for kernel, bits in kernels:
        refusal = backend.refusal(kernel, bits)
        if refusal is not None:
            raise TargetError(refusal)
