"""Calibration: whole networks measured end to end correct what sums of single kernels miss.

The corrections are factors per kind of kernel and one overhead per kernel, so that a calibrated
latency is still a sum over kernels, and compiles as one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, TypeAdapter

from nas.durable import write_atomic
from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from nas.targets.target import CostModel, HardwareTarget
from search_spaces.documents import read_json
from search_spaces.kernels import Kernel

FloatArray = NDArray[np.float64]
FORMAT = 1


@dataclass(frozen=True)
class PredictionError:
    """How far predicted latencies of whole networks are from measured ones.

    Attributes:
        median: Half of the networks are closer than this share of the measured latency.
        tail: 90 % are.
        within_5: Share of networks within 5 %.
        within_10: Share within 10 %.
        networks: How many were measured.
    """

    median: float
    tail: float
    within_5: float
    within_10: float
    networks: int

    @classmethod
    def of(cls, predicted_ms: FloatArray, measured_ms: FloatArray) -> PredictionError:
        """The error over networks of which both latencies are known, `(n,)` each."""
        off = np.abs(predicted_ms / measured_ms - 1)
        median, tail = np.quantile(off, (0.5, 0.9)).tolist()
        return cls(median, tail, float((off <= 0.05).mean()), float((off <= 0.1).mean()), len(off))

    def __str__(self) -> str:
        return (
            f"median error {self.median:.1%}, 90 % of networks within {self.tail:.1%}; "
            f"{self.within_5:.0%} within 5 %, {self.within_10:.0%} within 10 %"
        )


@dataclass(frozen=True)
class WholeNetwork:
    """One network that was measured end to end; `predicted_ms` is the sum without calibration."""

    genotype: tuple[int, ...]
    predicted_ms: float
    measured_ms: float


@dataclass(frozen=True)
class Calibration:
    """Corrections of a latency table, and the error that is left.

    Attributes:
        scale: Factor on every kernel.
        corrections: A further factor by kind of kernel, as `kind_of` names it; 1 where absent.
        overhead_us: Added to every kernel, may be negative.
        error: With the corrections, each network predicted from the others (leave one out).
        before: Of the same networks without corrections.
        conditions: Of the table that it belongs to: device, runtime, threads.
        networks: What was measured.
    """

    scale: float
    corrections: Mapping[str, float]
    overhead_us: float
    error: PredictionError
    before: PredictionError
    conditions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    networks: tuple[WholeNetwork, ...] = ()

    def factor(self, kind: str) -> float:
        """What the latency of a kernel of this kind is multiplied with."""
        return self.scale * self.corrections.get(kind, 1.0)

    def write(self, path: Path) -> None:
        """Write it as `read_calibration` reads it."""
        content = {"format": FORMAT, "calibration": dataclasses.asdict(self)}
        write_atomic(path, json.dumps(content, indent=1).encode())


def _checked(calibration: Calibration) -> Calibration:
    factors = np.array([calibration.scale, *calibration.corrections.values()])
    if not ((factors > 0).all() and np.isfinite([*factors, calibration.overhead_us]).all()):
        raise ValueError("must have finite figures, and factors above 0")
    return calibration


@dataclass(frozen=True)
class _File:
    __pydantic_config__ = ConfigDict(extra="forbid")
    format: Literal[1]
    calibration: Annotated[Calibration, AfterValidator(_checked)]


_CONTENT = TypeAdapter(_File)
_REMEDY = "delete it and calibrate again"


def calibration_path(table: Path) -> Path:
    """Where the calibration of the table at this path lies: beside it."""
    return table.with_suffix(".calibration.json")


def read_calibration(path: Path, *, conditions: Mapping[str, str]) -> Calibration:
    """The calibration at `path`, which must belong to a table of these conditions.

    Raises:
        UnreadableFile: It cannot be read.
        TargetError: It was measured under other conditions.
    """
    found = read_json(path, _CONTENT, what="calibration", remedy=_REMEDY).calibration
    for name, value in found.conditions.items():
        if conditions.get(name) != value:
            raise TargetError(
                f"calibration {path} was measured with {name} = {value!r}, its table with "
                f"{conditions.get(name)!r}; delete it and calibrate again"
            )
    return found


def kind_of(kernel: Kernel, bits: Bits) -> str:
    """Kernels that are corrected alike: by the anchor's class and the bits computed in."""
    return f"{type(kernel.op).__name__} {bits}"


class Latencies:
    """A cost model with calibrated latencies; other costs are those of `model`."""

    def __init__(self, model: CostModel, calibration: Calibration) -> None:
        self.model = model
        self.calibration = calibration

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Bits], float]]:
        """Cost name -> the cost of a kernel that computes in the given bits."""
        return {**self.model.costs, "latency_ms": self.latency_ms}

    def require(self, kernels: Iterable[tuple[Kernel, Bits]]) -> None:
        """Raise `TargetError` naming every one of `kernels` that there is no figure for."""
        self.model.require(kernels)

    def latency_ms(self, kernel: Kernel, bits: Bits) -> float:
        """Milliseconds for one sample, never below 0."""
        alone = self.model.costs["latency_ms"](kernel, bits)
        factor = self.calibration.factor(kind_of(kernel, bits))
        return max(0.0, alone * factor + self.calibration.overhead_us / 1e3)


def calibration_of(target: HardwareTarget) -> Calibration | None:
    """The calibration of a target's latencies, or None where there is none."""
    return target.model.calibration if isinstance(target.model, Latencies) else None


def uncalibrated(target: HardwareTarget) -> HardwareTarget:
    """`target` with latencies as its table has them."""
    if not isinstance(target.model, Latencies):
        return target
    return dataclasses.replace(target, model=target.model.model)
