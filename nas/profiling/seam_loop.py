"""The loop that measures the seams of a space."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from nas.files.durable import write_atomic, write_error
from nas.profiling.backend import SeamBackend
from nas.profiling.table_loop import Progress
from nas.targets.seams.seam import Seam
from nas.targets.seams.space_seams import SpaceSeams, Tensor
from nas.targets.seams.table import Added, SeamTable, heading, line
from nas.targets.target import HardwareTarget, space_kernels
from search_spaces.policy import full_precision
from search_spaces.space import SearchSpace

BUDGET_MS = 15.0
GROUP = 4  # seams whose repetitions, and those of their kernels alone, are interleaved


def profile_seams(
    target: HardwareTarget,
    space: SearchSpace,
    *,
    path: Path,
    backend: SeamBackend,
    budget_ms: float = BUDGET_MS,
    progress: Progress | None = None,
) -> SeamTable:
    """Measure all seams of a space that have no row in the table at `path`; returns the table.

    The networks in full precision, with which reports compare, count too. Every seam is measured at
    up to three sizes of the tensor. Its kernels are timed together and alone, in turns, and a row
    is the difference. Rows are appended as they are measured.

    Args:
        target: The target, for its formats and its fusion.
        space: The space.
        path: The file of the table, which is made if it does not exist.
        backend: The backend, which must be that of the latency table.
        budget_ms: The time for the repetitions of each model.
        progress: A function that is called with the number of rows done and the total.

    Raises:
        TargetError: If the table cannot be read, or was measured under other conditions.
    """
    table = _opened(path, backend.conditions())
    rows = {seam: dict(sizes) for seam, sizes in table.rows.items()}
    wanted = list(representatives(target, space))
    left = [one for one in wanted if one.elements not in rows.get(one.seam, {})]
    report = progress or (lambda *_: None)
    done = len(wanted) - len(left)
    report(done, len(wanted))
    for start in range(0, len(left), GROUP):
        group = left[start : start + GROUP]
        found = dict(zip(group, backend.seams(group, budget_ms=budget_ms), strict=True))
        _append(path, found)
        for tensor, added in found.items():
            rows.setdefault(tensor.seam, {})[tensor.elements] = added
        done += len(group)
        report(done, len(wanted))
    return SeamTable(rows, table.notes)


def representatives(target: HardwareTarget, space: SearchSpace) -> Iterator[Tensor]:
    """For every seam, a smallest tensor, a largest one and one between, by number of elements.

    Among tensors of equal size, the one with the fewest multiplications is taken, since the time of
    its kernels hides the least.
    """
    by_size = defaultdict[Seam, dict[int, Tensor]](dict)
    for tensor in sorted(_tensors(target, space), key=_macs):
        by_size[tensor.seam].setdefault(tensor.elements, tensor)
    for _, tensors in sorted(by_size.items()):
        sizes = sorted(tensors)
        middle = (sizes[0] * sizes[-1]) ** 0.5
        between = min(sizes, key=lambda size: abs(size / middle - 1))
        yield from (tensors[size] for size in sorted({sizes[0], between, sizes[-1]}))


def _tensors(target: HardwareTarget, space: SearchSpace) -> Iterator[Tensor]:
    for one in (space, SearchSpace(full_precision(space.graph))):
        kernels = space_kernels(one, target.fusion)
        seams = SpaceSeams(kernels, target.numerics, in_floats=target.in_floats)
        yield from seams.tensors()


def _macs(tensor: Tensor) -> int:
    return sum(kernel.macs for kernel, _ in tensor.alone)


def _opened(path: Path, conditions: Mapping[str, str]) -> SeamTable:
    """The table in a file, which is made if it does not exist; an incomplete last line is cut."""
    if not path.exists():
        write_atomic(path, heading(conditions).encode())
    table = SeamTable.read(path, conditions=conditions)
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        write_atomic(path, whole[:end])
    return table


def _append(path: Path, found: Mapping[Tensor, Added]) -> None:
    """Add rows, on the disk when this returns."""
    lines = "".join(line(one.seam, one.elements, added) for one, added in found.items())
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(path, error) from error
