"""A look at latencies: wrong units, speeds of no known device, kernels unlike others of their kind.

A figure in microseconds or seconds where milliseconds are meant is a figure like any other, so only
comparison can find it. Every way by which latencies come in takes this look: the import of a
published table, the check of a target file, a run, and measurements from another machine.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.targets.table.operator_reader import OperatorReader
from nas.targets.table.rows import KernelKey, Row
from search_spaces.ops import Op, Shape

GMACS_PER_S = (1e-4, 1e6)  # of the slowest microcontroller and the fastest accelerator, with room
SHORTEST_MS = 1e-5  # some ten cycles of a fast clock, less than starting any kernel takes
SYSTEM_GMACS_PER_S = (
    0.2  # that a processor with an operating system reaches at some kernel at least
)
ALIKE = 4.0  # kernels whose work differs by less than this factor are compared
UNLIKE = 60.0  # the published tables differ by up to 47, a figure in another unit by 1000
_SYSTEMS = ("onnxruntime", "openvino", "torch")
_LEAST_MACS = 20_000  # a smaller kernel's time is that of its start
_LONG_MS = 1000.0


@dataclass(frozen=True)
class Timed:
    """A kernel with its work and its latency.

    Attributes:
        where: The name of the kernel, for messages.
        kind: What two kernels share that are compared with each other.
        macs: Multiply-accumulates of a run.
        elements: Elements that a run reads and writes.
        latency_ms: The latency of a run, in ms.
    """

    where: str
    kind: tuple[object, ...]
    macs: int
    elements: int
    latency_ms: float

    @property
    def gmacs_per_s(self) -> float:
        """The speed of the kernel; infinite where the latency is 0."""
        return self.macs / self.latency_ms / 1e6 if self.latency_ms else math.inf


def timed(rows: Mapping[KernelKey, Row]) -> list[Timed]:
    """The kernels of a latency table; without those whose shapes fit no such operator."""
    reader = OperatorReader()
    found: list[Timed] = []
    for key, row in rows.items():
        if (work := _work(key, reader)) is not None:
            macs, elements = (count * key.batch for count in work)
            found.append(Timed(str(key), kind_of(key), macs, elements, row.latency_ms))
    return found


def kind_of(key: KernelKey) -> tuple[object, ...]:
    """The kind of a kernel: operator, formats, and whether it has groups."""
    return key.operator, "groups=" in key.fields, key.weight, key.activation


def doubts(kernels: Sequence[Timed], *, runtime: str = "", simulated: bool = False) -> list[str]:
    """Warnings about latencies that are probably in another unit, or were disturbed, in words.

    Args:
        kernels: The kernels.
        runtime: The software that ran them, as far as it is known.
        simulated: Whether the figures were computed, so that no clock and no start limit them.
    """
    return [
        *_without_time(kernels),
        *_of_no_device(kernels),
        *([] if simulated else _too_short(kernels)),
        *_too_long(kernels, runtime),
        *_unlike(kernels),
    ]


def speeds(kernels: Iterable[Timed]) -> tuple[float, float] | None:
    """The speed of the slowest and the fastest kernel in GMAC/s; None where no kernel computes."""
    found = [each.gmacs_per_s for each in kernels if each.macs and each.latency_ms]
    return (min(found), max(found)) if found else None


def of_no_device(kernels: Iterable[Timed]) -> list[str]:
    """The kernels whose speed no known device has, with this speed, in words."""
    low, high = GMACS_PER_S
    return [
        f"{each.where} at {each.gmacs_per_s:.3g} GMAC/s"
        for each in kernels
        if each.macs and each.latency_ms and not low < each.gmacs_per_s < high
    ]


def _without_time(kernels: Sequence[Timed]) -> Iterator[str]:
    if zero := [each.where for each in kernels if not each.latency_ms]:
        yield f"{len(zero)} of {len(kernels)} rows take no time at all, such as {zero[0]}"


def _of_no_device(kernels: Sequence[Timed]) -> Iterator[str]:
    if odd := of_no_device(kernels):
        yield (
            f"{len(odd)} of {len(kernels)} figures are of no known device, such as {odd[0]}; are "
            "they milliseconds?"
        )


def _too_short(kernels: Sequence[Timed]) -> Iterator[str]:
    short = [each for each in kernels if 0 < each.latency_ms < SHORTEST_MS]
    if short:
        yield (
            f"{len(short)} of {len(kernels)} figures are below {SHORTEST_MS * 1e6:.0f} ns, less "
            f"than any kernel takes, such as {short[0].where} at {short[0].latency_ms * 1e6:.2g} "
            "ns; are they milliseconds, not seconds?"
        )


def _too_long(kernels: Sequence[Timed], runtime: str) -> Iterator[str]:
    latencies = [each.latency_ms for each in kernels]
    if latencies and (slow := float(np.median(latencies))) > _LONG_MS:
        yield f"half of the rows take more than {slow:,.0f} ms; are they milliseconds?"
    large = [each.gmacs_per_s for each in kernels if each.macs >= _LEAST_MACS and each.latency_ms]
    system = next((name for name in _SYSTEMS if runtime.lower().startswith(name)), None)
    if system and large and max(large) < SYSTEM_GMACS_PER_S:
        yield (
            f"the fastest kernel runs at {max(large):.2g} GMAC/s, slower than any processor that "
            f"runs {system}; are they milliseconds, not microseconds?"
        )


def unlike(kernels: Iterable[Timed]) -> list[tuple[Timed, Timed, float]]:
    """Kernels that are much slower than one of their kind with like work.

    Each comes with the other kernel, and how many times slower it is.
    """
    alike: defaultdict[tuple[object, ...], list[Timed]] = defaultdict(list)
    for each in kernels:
        if each.latency_ms:
            alike[each.kind].append(each)
    return [pair for group in alike.values() for pair in _pairs(group)]


def _unlike(kernels: Sequence[Timed]) -> Iterator[str]:
    if pairs := unlike(kernels):
        slow, fast, _ = max(pairs, key=lambda pair: pair[2])
        yield (
            f"{len(pairs)} of {len(kernels)} rows are over {UNLIKE:.0f} times slower than a row of "
            f"a like kernel, such as {slow.where} at {slow.latency_ms:.4g} ms beside {fast.where} "
            f"at {fast.latency_ms:.4g} ms; is the unit the same everywhere, was a run disturbed?"
        )


def _pairs(group: list[Timed]) -> Iterator[tuple[Timed, Timed, float]]:
    """Kernels of one kind with the like kernel that is faster by most, where it is too much.

    A kernel with more work may take longer by as much, and a kernel with less work no longer.
    """
    group.sort(key=_work_of)
    work = np.array([_work_of(each) for each in group], dtype=float)
    latency = np.array([each.latency_ms for each in group])
    starts = np.searchsorted(work, work / ALIKE)
    ends = np.searchsorted(work, work * ALIKE, side="right")
    for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        allowed = np.maximum(work[place] / work[start:end], 1.0)
        with np.errstate(over="ignore"):  # a latency next to zero is faster without bounds
            times = latency[place] / latency[start:end] / allowed
        most = int(np.argmax(times))
        if times[most] > UNLIKE:
            yield group[place], group[start + most], float(times[most])


def _work_of(each: Timed) -> int:
    return each.macs + each.elements


def _work(key: KernelKey, reader: OperatorReader) -> tuple[int, int] | None:
    """The multiply-accumulates and the elements of a kernel for one sample, from its row.

    What runs behind the first operator is taken as a chain, which may leave out a little. None if
    the shapes fit no such operator.
    """
    anchor = reader.operator(key.operator, key.fields)
    shapes = [tuple(map(int, part.split("x"))) for part in key.inputs.split("+")]
    first = next(
        (ran for n in range(len(shapes), 0, -1) if (ran := _ran(anchor, shapes[:n]))), None
    )
    if first is None:
        return None
    output, macs = first
    for behind in reader.behind(key.fused):
        ran = _ran(behind.op, [output]) or _ran(behind.op, [output, output])
        if ran is not None:
            output, macs = ran[0], macs + ran[1]
    return macs, sum(map(math.prod, (*shapes, output)))


def _ran(op: Op, inputs: Sequence[Shape]) -> tuple[Shape, int] | None:
    """The output and the multiply-accumulates of an operator; None if such inputs do not fit."""
    try:
        return op.infer(*inputs), op.macs(*inputs)
    except (ValueError, TypeError, IndexError):
        return None
