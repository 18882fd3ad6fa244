"""Coverage of a search space by a target's figures, and warnings about figures that look wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from nas.targets.correction.correction import uncalibrated
from nas.targets.legality import refused_options
from nas.targets.numerics import Numerics
from nas.targets.plausible import doubts, timed
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.nearest import Neighbours
from nas.targets.table.operator_reader import OperatorReader
from nas.targets.table.rows import KernelKey, Row
from nas.targets.target import HardwareTarget, space_kernels
from nas.targets.transfer.predicted import Combined
from search_spaces.formats import Int
from search_spaces.ops import Op
from search_spaces.quant import Quant
from search_spaces.space import SearchSpace

WIDE_SPREAD = 0.25
FASTER = 0.9  # of the narrower kernel's latency: beyond what noise explains
_EQUAL_ROWS = 4
_CONDITIONS = ("device", "runtime", "threads", "date")


@dataclass(frozen=True)
class Refusal:
    """The choices of a space in which a target refuses an option.

    Attributes:
        choices: The names of these choices.
        offered: The number of choices that offer the option.
    """

    choices: tuple[str, ...]
    offered: int


@dataclass(frozen=True)
class SpaceCoverage:
    """The part of a search space that a target can run and has figures for.

    Attributes:
        wanted: The number of kernels for which the space needs figures.
        missing: The kernels without a row in the table, each with the nearest rows.
        contained: Operators that compute in other formats than they ask for: (operator, formats
            that it computes in, or None where it is refused) -> formats that it asks for.
        refused: An option in words, such as `4 bits` -> where this option is refused.
    """

    wanted: int
    missing: Mapping[KernelKey, Sequence[KernelKey]]
    contained: Mapping[tuple[str, Numerics | None], Sequence[Numerics]]
    refused: Mapping[str, Refusal]


def table_of(target: HardwareTarget) -> LatencyTable | None:
    """The latency table from which a target's figures come, calibrated or not; None without one."""
    model = uncalibrated(target).model
    return model if isinstance(model, LatencyTable) else None


def of_space(target: HardwareTarget, space: SearchSpace, *, near: int = 2) -> SpaceCoverage:
    """The coverage of `space` by `target`.

    Args:
        target: The target.
        space: The space.
        near: How many nearest rows to name for each missing one.

    Raises:
        TargetError: If the columns of a row cannot distinguish two operators of the space.
    """
    kernels = space_kernels(space, target.fusion).distinct()
    runs = target.runs(kernels)
    wanted: Collection[object] = set(runs)
    missing: dict[KernelKey, list[KernelKey]] = {}
    if (table := table_of(target)) is not None:
        rows = table.rows
        wanted = keys = dict.fromkeys(KernelKey.of(kernel, numerics) for kernel, numerics in runs)
        neighbours = Neighbours(rows)
        missing = {key: neighbours.of(key, count=near) for key in keys if key not in rows}
    ops = {op for kernel in kernels if kernel.runs for op in kernel.ops if op.runs}
    return SpaceCoverage(
        wanted=len(wanted),
        missing=missing,
        contained=_contained(target, ops),
        refused=_refused(target, space),
    )


def _contained(
    target: HardwareTarget, ops: Iterable[Op]
) -> dict[tuple[str, Numerics | None], list[Numerics]]:
    found: defaultdict[tuple[str, Numerics | None], set[Numerics]] = defaultdict(set)
    for op in ops:
        asked, given = target.capability.asked(op), target.capability.container(op)
        if given is None or not given.plain.runs(asked.plain):
            found[type(op).__name__, given].add(asked)
    return {key: sorted(asked, key=str) for key, asked in sorted(found.items(), key=str)}


def _refused(target: HardwareTarget, space: SearchSpace) -> dict[str, Refusal]:
    offered = Counter(
        told for choice in space.choices for told in {_option(each) for each in choice.options}
    )
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, index in refused_options(space, target):
        found[_option(space.choices[space.column[name]].options[index])].add(name)
    return {
        option: Refusal(tuple(sorted(names)), offered[option])
        for option, names in sorted(found.items())
    }


def _option(option: object) -> str:
    if option is None:
        return "full precision"
    if not isinstance(option, Quant):
        return str(option)
    return f"{option.bits} bits" if isinstance(option.format, Int) else option.name


def by_operator(table: LatencyTable) -> dict[str, Counter[Numerics]]:
    """The number of rows of a table, by the name of the operator and then by formats."""
    found: defaultdict[str, Counter[Numerics]] = defaultdict(Counter)
    for key in table.rows:
        found[key.operator][key.numerics] += 1
    return dict(found)


def spread(table: LatencyTable) -> tuple[float, float] | None:
    """The median and the largest coefficient of variation of a table's rows.

    None where no row has a latency above zero.
    """
    ratios = [_variation(row) for row in table.rows.values() if row.latency_ms]
    return (median(ratios), max(ratios)) if ratios else None


def findings(target: HardwareTarget) -> list[str]:
    """Warnings about a target's latencies, in words; they can be used despite them."""
    table = table_of(target)
    if table is None or not table.rows:
        return suspicions(target)
    rows = table.rows
    timed = target.provenance != "simulated"
    lacking = [name for name in _CONDITIONS if timed and name not in target.notes]
    unsaid = [f"nothing says its {', '.join(lacking)}; add notes"] if lacking else []
    groups = {
        f"have a spread above {WIDE_SPREAD:.0%}": _unsteady(rows),
        "are faster than the same kernel at fewer bits": [*_faster(rows)],
        "stand at formats that the target has no kernels for, and are never used": [
            *_unused(target, rows)
        ],
    }
    told = [
        f"{len(found)} of {len(rows)} rows {what}, such as {found[0]}"
        for what, found in groups.items()
        if found
    ]
    return [*unsaid, *suspicions(target), *told, *_copies(rows)]


def suspicions(target: HardwareTarget) -> list[str]:
    """Warnings about latencies that are probably in another unit, or were disturbed, in words."""
    model = uncalibrated(target).model
    if isinstance(model, Combined):
        return [*model.doubts]
    if not isinstance(model, LatencyTable) or not model.rows:
        return []
    return doubts(
        timed(model.rows), runtime=target.runtime, simulated=target.provenance == "simulated"
    )


def _unsteady(rows: Mapping[KernelKey, Row]) -> list[str]:
    found = [(_variation(row), key) for key, row in rows.items() if row.latency_ms]
    wide = sorted((ratio, key) for ratio, key in found if ratio > WIDE_SPREAD)
    return [f"{key} ({ratio:.0%})" for ratio, key in reversed(wide)]


def _faster(rows: Mapping[KernelKey, Row]) -> Iterator[str]:
    """Rows that are faster than a row of the same kernel at fewer bits."""
    alike: defaultdict[KernelKey, list[KernelKey]] = defaultdict(list)
    for key in rows:
        alike[replace(key, weight="", activation="")].append(key)
    for keys in alike.values():
        for wide in keys:
            narrower = [k for k in keys if k != wide and wide.numerics.holds(k.numerics)]
            slowest = max((rows[key].latency_ms for key in narrower), default=0.0)
            if rows[wide].latency_ms < FASTER * slowest:
                yield f"{wide} ({rows[wide].latency_ms:.4g} against {slowest:.4g} ms)"


def _unused(target: HardwareTarget, rows: Mapping[KernelKey, Row]) -> Iterator[str]:
    reader = OperatorReader()
    for key in rows:
        if key.numerics.plain not in target.capability.native(
            reader.operator(key.operator, key.fields)
        ):
            yield str(key)


def _copies(rows: Mapping[KernelKey, Row]) -> list[str]:
    """A warning if many rows share their latency to the last digit; else nothing."""
    counts = Counter(row.latency_ms for row in rows.values())
    latency, count = counts.most_common(1)[0]
    if count < max(_EQUAL_ROWS, len(rows) // 50):
        return []
    shared = sum(n for n in counts.values() if n >= _EQUAL_ROWS)
    return [
        f"{shared} of {len(rows)} rows share a latency with at least {_EQUAL_ROWS - 1} others, "
        f"{count} of them {latency:g} ms: copies, or a coarse clock"
    ]


def _variation(row: Row) -> float:
    return row.spread_ms / row.latency_ms
