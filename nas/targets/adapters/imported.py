"""The result of an import: mapped figures, entries that could not be mapped, and warnings.

An adapter reads a published file into entries (a figure of one kernel) and samples (a latency of a
whole network). The checks in `collect` turn entries into rows of a latency table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.table.rows import KernelKey, Row
from search_spaces.kernels import UNFUSED, Fusion, Kernel

Origin = Literal["measured", "simulated", "predicted"]
SHOWN = 3


class Unmappable(ValueError):
    """The error for an entry of a file that no operator of this engine can represent.

    Its message becomes the reason of an `Unmapped`.
    """


@dataclass(frozen=True)
class Entry:
    """The published figures of one kernel, as the file states them; `collect` checks them.

    Attributes:
        where: The place of the entry in the file, for messages.
        kernel: The kernel.
        numerics: The formats in which the kernel computes.
        latency_ms: The latency in milliseconds; may be impossible, such as negative or NaN.
        spread_ms: Standard deviation over repetitions in ms; 0 where it is not published.
        count: The number of repetitions; 1 where it is not published.
        energy_mj: The energy in millijoules; None where it is not published.
        axes: Name -> number by which a kernel is larger and should not be faster, such as kernel
            size, width or bits. Two entries that differ in one such number are compared.
        among: Further numbers that two entries must share to be compared, such as the layer.
    """

    where: str
    kernel: Kernel
    numerics: Numerics
    latency_ms: float
    spread_ms: float = 0.0
    count: int = 1
    energy_mj: float | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    among: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The published latency of one whole network, which is described by named numbers.

    Attributes:
        where: The place of the sample in the file, for messages.
        features: Name -> number that describes the network.
        latency_ms: The latency in milliseconds.
        spread_ms: Standard deviation over repetitions in ms; 0 where it is not published.
        parts_ms: Name of a part -> its share of the latency in ms.
    """

    where: str
    features: Mapping[str, float]
    latency_ms: float
    spread_ms: float = 0.0
    parts_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Unmapped:
    """An entry of a file that was left out, with the reason."""

    where: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """A warning about figures, which a user should know before relying on them.

    Attributes:
        kind: The kind of the warning in a word, such as `negative` or `copied`.
        text: The warning, in a sentence.
        count: The number of entries concerned.
    """

    kind: str
    text: str
    count: int


@dataclass(frozen=True)
class Imported:
    """The content of a published file that this engine can use, with its origin.

    Attributes:
        origin: Whether the figures were measured, simulated or predicted.
        device: The hardware, in words.
        runtime: The software that ran the kernels, in words.
        source: The publication and the address of the file.
        units: The units of the file's numbers, in words.
        kernels: The kernels behind `rows`, by key.
        rows: The figures of kernels.
        samples: The latencies of whole networks.
        unmapped: Entries that were left out, each with its reason.
        findings: Warnings about figures.
        notes: Further conditions of the measurement, for the head of the table.
        fusion: The operators that a row of the table contains.
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
    """One warning about all `items`, of which it names the first few; nothing without items.

    Args:
        kind: The kind of the warning in a word.
        what: The beginning of its text.
        items: The entries concerned, as texts.
    """
    named = [plain(item) for item in items]
    if named:
        more = ", ..." if len(named) > SHOWN else ""
        yield Finding(kind, f"{what}: {', '.join(named[:SHOWN])}{more}", len(named))


def plain(text: str) -> str:
    """A text of unknown origin on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def reject(path: object, problem: str, remedy: str) -> TargetError:
    """The error for a file that cannot be used at all."""
    return TargetError(f"{plain(str(path))}: {plain(problem)}; {remedy}")
