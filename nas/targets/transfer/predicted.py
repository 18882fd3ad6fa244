"""Predicted targets: the latency of each kernel is combined from its latencies on known targets."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.files.durable import read_text
from nas.files.sheet import absent, read_sheet
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.target import HardwareTarget
from nas.targets.transfer.doubts import measured_doubts
from nas.targets.transfer.transfer import KnownTargets, Transfer, kind_of
from search_spaces.documents import Source, parse_json
from search_spaces.kernels import Kernel
from search_spaces.space import Genotype, SearchSpace

FloatArray = NDArray[np.float64]
LATENCY = "latency_ms"
_MOST_BYTES = 1 << 26
_LEAST_MS, _MOST_MS = 1e-9, 1e9  # no clock measures beyond these, and sums of squares overflow
_CELL = Source("an option", "write it as the file has it that lists the networks to measure")


@dataclass(frozen=True, eq=False)
class Combined:
    """A cost model whose kernel latencies are weighted sums of the latencies on known targets.

    Attributes:
        known: The known targets.
        factors: Class name of the anchor -> the weight of each known target, `(known,)`.
        doubts: Warnings about the measured networks, in words.
    """

    known: tuple[HardwareTarget, ...]
    factors: Mapping[str, FloatArray]
    doubts: tuple[str, ...] = ()

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Numerics], float]]:
        """The only cost, `latency_ms`, as a function of a kernel and the bits it computes in."""
        return {LATENCY: self.latency_ms}

    def latency_ms(self, kernel: Kernel, numerics: Numerics) -> float:
        """The latency of a kernel in ms.

        A latency may be negative: it then corrects other kernels that are predicted as too slow.
        """
        del numerics  # each known target decides on its own in which bits the kernel computes
        figures = [target.kernel_cost(kernel) for target in self.known]
        return float(self.factors[kind_of(kernel)] @ np.array(figures))

    def lacking(self, kernels: Iterable[tuple[Kernel, Numerics]]) -> str | None:
        """What a known target lacks or no factor was fitted for, in words; None if nothing."""
        wanted = [kernel for kernel, _ in kernels]
        unfitted = sorted({kind_of(kernel) for kernel in wanted} - set(self.factors))
        if unfitted:
            return (
                f"no measured network runs {', '.join(unfitted)}; the known targets were combined "
                f"for {', '.join(self.factors)}; start again from a space that has them all"
            )
        for target in self.known:
            if (reason := target.model.lacking(target.runs(wanted))) is not None:
                return reason
            refused = [kernel for kernel in wanted if not math.isfinite(target.kernel_cost(kernel))]
            if refused:
                return (
                    f"known target {target.name!r} refuses {len(refused)} kernels, the first "
                    f"{refused[0]}; leave the target out, or narrow the space to what it runs"
                )
        return None


def predicted_target(
    target: HardwareTarget,
    known: Sequence[HardwareTarget],
    *,
    space: SearchSpace,
    networks: Sequence[Genotype],
    latency_ms: Sequence[float],
) -> HardwareTarget:
    """The target with a latency model that is fitted to a few networks measured on the device.

    Args:
        target: The target, without a model of its own.
        known: Targets whose kernel latencies are combined.
        space: The space of the measured networks.
        networks: The measured networks.
        latency_ms: The measured latency of each network.

    Raises:
        TargetError: If a known target fuses other operators, if its latency is more than a sum over
            kernels, or if a measured latency cannot be right.
    """
    for other in known:
        if other.fusion != target.fusion:
            raise TargetError(
                f"known target {other.name!r} fuses other kernels than {target.name!r}, so their "
                "latencies cannot be combined; give both the same fusion and regions"
            )
    devices = KnownTargets(known, space)
    if np.abs(devices.parts(devices.sample)[:, :, -1]).max() > 1e-9:
        raise TargetError(
            "a known target has casts, parallel branches or a correction of whole networks, which "
            "no kernel holds; predict whole networks from Python (nas.targets.transfer.transfer)"
        )
    fitted = Transfer(devices).fit(networks, np.array(latency_ms))
    factors, constant = fitted.fitted.linear()
    parts = devices.parts(np.array(networks))
    odd = measured_doubts(np.array(latency_ms), parts.sum(axis=2), names=devices.names)
    by_class = dict(zip(devices.classes, factors.T, strict=False))  # nothing beyond kernels
    return replace(
        target,
        model=Combined(tuple(known), by_class, tuple(odd)),
        source="; ".join(part for part in (target.source, fitted.source) if part),
        rules=replace(target.rules, overhead_ms=constant),
    )


def networks_text(
    space: SearchSpace, networks: Sequence[Genotype], latency_ms: Sequence[float | None]
) -> str:
    """The text of a CSV file of networks and their latencies.

    There is one column per choice, with the picked option as JSON, empty where the choice is
    closed. The last column is `latency_ms`, empty where the latency is None.
    """
    written = io.StringIO()
    sheet = csv.writer(written, lineterminator="\n")
    sheet.writerow([*space.column, LATENCY])
    for genotype, latency in zip(networks, latency_ms, strict=True):
        options = space.describe(genotype)
        cells = [json.dumps(options[name]) if name in options else "" for name in space.column]
        sheet.writerow([*cells, "" if latency is None else f"{latency:g}"])
    return written.getvalue()


def read_networks(path: Path, space: SearchSpace) -> tuple[list[Genotype], list[float]]:
    """The networks and their latencies in ms from a CSV file with the text of `networks_text`.

    Raises:
        TargetError: If the file cannot be read or a line is wrong; names the line and what it must
            hold.
    """
    try:
        sheet = read_sheet(read_text(path, at_most=_MOST_BYTES), by_line=True).with_points(
            [LATENCY]
        )
    except FileNotFoundError as error:
        raise TargetError(f"measured networks: {absent(path)}; correct its name") from error
    except (OSError, ValueError) as error:
        raise TargetError(f"measured networks {path} cannot be read: {error}") from error
    if not sheet.rows:
        raise TargetError(f"measured networks {path} has no lines; add what was measured")
    networks: list[Genotype] = []
    latencies: list[float] = []
    for number, cells in sheet.rows:
        try:
            line = dict(zip(sheet.header, cells, strict=True))
            latencies.append(float(line.pop(LATENCY, "") or "nan"))
            networks.append(
                space.genotype(
                    {name: parse_json(cell, _CELL) for name, cell in line.items() if cell}
                )
            )
        except (ValueError, TypeError) as error:
            raise TargetError(f"measured networks {path}, line {number}: {error}") from error
        if not _LEAST_MS <= latencies[-1] <= _MOST_MS:
            raise TargetError(
                f"measured networks {path}, line {number}: {LATENCY} must be a positive number, of "
                f"milliseconds from {_LEAST_MS:g} to {_MOST_MS:g}; measure the network and fill it "
                "in, or delete the line"
            )
    return networks, latencies
