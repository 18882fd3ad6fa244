"""Checks of imported figures: impossible ones are left out, suspicious ones are reported.

The function `collect` turns the entries that an adapter has read into rows of a latency table.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nas.targets.adapters.imported import Entry, Finding, Sample, Unmapped, counted, plain
from nas.targets.errors import TargetError
from nas.targets.plausible import UNLIKE, Timed, kind_of, of_no_device, unlike
from nas.targets.table.rows import KernelKey, Row
from search_spaces.kernels import Kernel

NOISE = 0.05
WIDE_SPREAD = 0.1
LARGEST = 1e7

Item = Entry | Sample | Unmapped


@dataclass(frozen=True)
class Collected:
    """The checked content of a file, with everything that was noticed about it.

    Attributes:
        kernels: The kernels behind `rows`, by key.
        rows: The figures of kernels.
        samples: The latencies of whole networks.
        unmapped: Entries that were left out, each with its reason.
        findings: Warnings about figures.
    """

    kernels: Mapping[KernelKey, Kernel]
    rows: Mapping[KernelKey, Row]
    samples: tuple[Sample, ...]
    unmapped: tuple[Unmapped, ...]
    findings: tuple[Finding, ...]


def collect(path: object, items: Iterable[Item]) -> Collected:
    """The rows and samples with possible figures, and a reason for every item that is left out.

    A figure is possible if it is finite and not negative. Several entries of the same kernel become
    one row with their mean. Energies are left out if some kernel has none.

    Args:
        path: The file, for the error.
        items: The entries, samples and unmapped records of the file.

    Raises:
        TargetError: If neither a row nor a sample is left.
    """
    given = list(items)
    unmapped = [item for item in given if isinstance(item, Unmapped)]
    figures = [item for item in given if not isinstance(item, Unmapped)]
    wrong = {id(item): reason for item in figures if (reason := _impossible(item))}
    entries, repeated = _pooled([i for i in figures if isinstance(i, Entry) and id(i) not in wrong])
    samples = tuple(i for i in figures if isinstance(i, Sample) and id(i) not in wrong)
    unmapped += [Unmapped(i.where, wrong[id(i)]) for i in figures if id(i) in wrong]
    if not entries and not samples:
        reasons = plain("; ".join(dict.fromkeys(found.reason for found in unmapped[:3])))
        raise TargetError(
            f"{path} holds nothing that can be mapped{f' ({reasons})' if reasons else ''}; "
            "`nas targets import --list` names the formats"
        )
    findings = [*_impossibilities(figures), *repeated, *_zeros(entries.values()), *_odd(entries)]
    lacking = [entry.where for entry in entries.values() if entry.energy_mj is None]
    partly = 0 < len(lacking) < len(entries)
    findings += counted(
        "energy", "energy is left out, since some kernels lack it", lacking * partly
    )
    return Collected(
        kernels={key: entry.kernel for key, entry in entries.items()},
        rows={key: _row(entry, energy=not partly) for key, entry in entries.items()},
        samples=samples,
        unmapped=tuple(Unmapped(plain(u.where), plain(u.reason)) for u in unmapped),
        findings=(*findings, *_spreads([*entries.values(), *samples])),
    )


def _row(entry: Entry, *, energy: bool) -> Row:
    energy_mj = entry.energy_mj if energy else None
    return Row(entry.latency_ms, entry.spread_ms, entry.count, energy_mj)


def _impossible(item: Entry | Sample) -> str | None:
    """The reason why the figures of an item are impossible, or None where they are possible."""
    figures = {"latency": item.latency_ms, "spread": item.spread_ms}
    if isinstance(item, Entry) and item.energy_mj is not None:
        figures["energy"] = item.energy_mj
    for name, value in figures.items():
        if math.isnan(value):
            return f"its {name} is missing (NaN)"
        if math.isinf(value):
            return f"its {name} is infinite"
        if value < 0:
            return f"its {name} is negative"
        if value > LARGEST:
            return f"its {name} is beyond {LARGEST:.0e}, which is hours for one kernel"
    return None


def _impossibilities(items: Sequence[Entry | Sample]) -> Iterator[Finding]:
    found = [(item.where, _impossible(item) or "") for item in items]
    for word in ("negative", "missing", "infinite", "beyond"):
        named = (where for where, why in found if word in why)
        yield from counted(word, f"{word} figures, left out".replace("beyond", "huge"), named)


def _pooled(entries: Sequence[Entry]) -> tuple[dict[KernelKey, Entry], list[Finding]]:
    """One entry per kernel, and warnings about kernels that had several.

    Several entries of the same kernel are replaced by their mean.
    """
    alike: dict[KernelKey, list[Entry]] = {}
    for entry in entries:
        alike.setdefault(KernelKey.of(entry.kernel, entry.numerics), []).append(entry)
    several = [found for found in alike.values() if len(found) > 1]
    apart = [(max(found, key=_ms), min(found, key=_ms)) for found in several]
    return {key: _mean(found) for key, found in alike.items()}, [
        *counted(
            "repeated",
            "kernels that stand there more than once, taken as their mean",
            (f"{found[0].where} and {found[1].where}" for found in several),
        ),
        *counted(
            "differing",
            "of these, kernels whose figures differ by more than 5 %",
            (
                f"{high.where} at {high.latency_ms:.4g} ms, {low.where} at {low.latency_ms:.4g} ms"
                for high, low in apart
                if high.latency_ms * (1 - NOISE) > low.latency_ms
            ),
        ),
    ]


def _ms(entry: Entry) -> float:
    return entry.latency_ms


def _mean(entries: Sequence[Entry]) -> Entry:
    """One entry with the mean and the standard deviation over all repetitions of `entries`."""
    first, count = entries[0], sum(entry.count for entry in entries)
    if len(entries) == 1:
        return first
    mean = sum(e.count * e.latency_ms for e in entries) / count
    squares = sum(e.count * (e.spread_ms**2 + (e.latency_ms - mean) ** 2) for e in entries)
    energies = [e.energy_mj for e in entries if e.energy_mj is not None]
    return replace(
        first,
        latency_ms=mean,
        spread_ms=math.sqrt(squares / count),
        count=count,
        energy_mj=sum(energies) / len(energies) if energies else None,
    )


def _zeros(entries: Iterable[Entry]) -> Iterator[Finding]:
    zero = (entry.where for entry in entries if entry.latency_ms == 0)
    yield from counted("zero", "kernels of 0 ms, which the sums do not count", zero)


def _odd(entries: Mapping[KernelKey, Entry]) -> Iterator[Finding]:
    kernels = [
        Timed(
            entry.where,
            kind_of(key),
            entry.kernel.macs,
            sum(map(math.prod, (*entry.kernel.inputs, entry.kernel.output))),
            entry.latency_ms,
        )
        for key, entry in entries.items()
    ]
    yield from counted(
        "units", "figures of no known device (is the unit right?)", of_no_device(kernels)
    )
    yield from counted(
        "units",
        f"figures over {UNLIKE:.0f} times slower than that of a like kernel (is the unit the same "
        "everywhere?)",
        (f"{slow.where} beside {fast.where}" for slow, fast, _ in unlike(kernels)),
    )
    yield from counted(
        "not monotone",
        "larger kernels that are more than 5 % faster",
        _falls([entry for entry in entries.values() if entry.axes and entry.latency_ms]),
    )


def _falls(entries: Sequence[Entry]) -> Iterator[str]:
    """Texts about entries that are faster than a smaller one, for a warning.

    Two entries are compared if they differ in one number only, such as the kernel size.
    """
    for axis in dict.fromkeys(itertools.chain.from_iterable(entry.axes for entry in entries)):
        lines: dict[object, list[Entry]] = {}
        for entry in entries:
            if axis in entry.axes:
                others = tuple((n, v) for n, v in entry.axes.items() if n != axis)
                lines.setdefault((*others, *_family(entry)), []).append(entry)
        for line in lines.values():
            ordered = sorted(line, key=lambda entry: entry.axes[axis])
            for smaller, larger in itertools.pairwise(ordered):
                if larger.latency_ms < smaller.latency_ms * (1 - NOISE):
                    yield f"{larger.where} below {smaller.where} ({axis})"


def _family(entry: Entry) -> tuple[object, ...]:
    """The properties that two entries must share to be compared, apart from their axes."""
    kernel = entry.kernel
    return type(kernel.op), len(kernel.fused), kernel.output, kernel.inputs[0][1:], entry.among


def _spreads(items: Sequence[Entry | Sample]) -> Iterator[Finding]:
    wide = [i for i in items if i.latency_ms and i.spread_ms > WIDE_SPREAD * i.latency_ms]
    worst = sorted(wide, key=lambda item: -item.spread_ms / item.latency_ms)
    yield from counted(
        "spread",
        f"standard deviation over {WIDE_SPREAD:.0%} of the latency",
        (f"{item.where} ({item.spread_ms / item.latency_ms:.0%})" for item in worst),
    )
