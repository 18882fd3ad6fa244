"""What an adapter yields: the rows that it could map, what it could not, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from nas.targets.table.rows import KernelKey, Row
from search_spaces.kernels import UNFUSED, Fusion, Kernel

Origin = Literal["measured", "simulated", "predicted"]
SHOWN = 3


class Unmappable(ValueError):
    """One entry of a file that has no counterpart here; its message becomes the stated reason."""


@dataclass(frozen=True)
class Entry:
    """One published figure of one kernel.

    Attributes:
        where: Where it stands in the file, for messages.
        kernel: The kernel that it is about.
        bits: What that kernel computes in.
        latency_ms: Milliseconds; whatever the file holds is checked by `collect`.
        spread_ms: Their standard deviation over repetitions, 0 where it is not published.
        count: Repetitions, 1 where it is not published.
        energy_mj: Millijoules, where published.
        axes: Numbers along which latency should not fall, such as kernel, width and bits.
        among: What, beside the shape it writes, an entry must share with those it is compared to.
    """

    where: str
    kernel: Kernel
    bits: Bits
    latency_ms: float
    spread_ms: float = 0.0
    count: int = 1
    energy_mj: float | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    among: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The latency of one whole network, described by named numbers."""

    where: str
    features: Mapping[str, float]
    latency_ms: float
    spread_ms: float = 0.0
    parts_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Unmapped:
    """An entry that has no counterpart here, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """Something about the figures that a user should know before relying on them.

    Attributes:
        kind: A word for it, such as `negative` or `copied`.
        text: What was found, in a sentence.
        count: How many entries it concerns.
    """

    kind: str
    text: str
    count: int


@dataclass(frozen=True)
class Imported:
    """Everything that a file of a public format holds for us.

    Attributes:
        origin: Whether the figures were measured, simulated or predicted.
        device: The hardware, in words.
        runtime: What ran the kernels there, in words.
        source: Where the file was published.
        units: What its numbers are in, and what they became.
        kernels: The kernels behind `rows`, by key.
        rows: Figures by kernel.
        samples: Latencies of whole networks.
        unmapped: What was left out, each with its reason.
        findings: What looks wrong with the figures.
        notes: Further conditions, for the table's head.
        fusion: What a row of the table covers.
    """

    origin: Origin
    device: str
    runtime: str
    source: str
    units: str
    kernels: Mapping[KernelKey, Kernel] = field(default_factory=dict)
    rows: Mapping[KernelKey, Row] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    fusion: Fusion = UNFUSED


def counted(kind: str, what: str, items: Iterable[str]) -> Iterator[Finding]:
    """One finding about `items`, the first few named; none where there are none."""
    named = [plain(item) for item in items]
    if named:
        more = ", ..." if len(named) > SHOWN else ""
        yield Finding(kind, f"{what}: {', '.join(named[:SHOWN])}{more}", len(named))


def plain(text: str) -> str:
    """Foreign words on one line, without what a terminal or a spreadsheet would act on."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def reject(path: object, problem: str, remedy: str) -> TargetError:
    """The error about a file that cannot be used at all."""
    return TargetError(f"{plain(str(path))}: {plain(problem)}; {remedy}")
