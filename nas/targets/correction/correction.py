"""Calibration of latencies: corrections that are fitted to networks measured end to end.

A sum of single kernel latencies is not exactly the latency of a network. The corrections are a
factor per kind of kernel and an overhead per kernel. A calibrated latency is therefore still a sum
over kernels, and compiles as one.
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

from nas.files.durable import write_atomic
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics, parse_numerics
from nas.targets.target import CostModel, HardwareTarget
from search_spaces.documents import read_json
from search_spaces.kernels import Kernel

FloatArray = NDArray[np.float64]
FORMAT = 2
"""The format of calibrations. In files of format 1, kinds held bits, such as `Conv2d 8x8`."""


@dataclass(frozen=True)
class PredictionError:
    """The relative error of predicted latencies of whole networks, |predicted / measured - 1|.

    Attributes:
        median: The median error.
        tail: The error below which 90 % of the networks lie.
        within_5: The share of networks with an error of at most 5 %.
        within_10: The share of networks with an error of at most 10 %.
        networks: The number of networks.
    """

    median: float
    tail: float
    within_5: float
    within_10: float
    networks: int

    @classmethod
    def of(cls, predicted_ms: FloatArray, measured_ms: FloatArray) -> PredictionError:
        """The error of predicted against measured latencies, each `(n,)` in ms."""
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
    """One network that was measured end to end; `predicted_ms` is without calibration."""

    genotype: tuple[int, ...]
    predicted_ms: float
    measured_ms: float


@dataclass(frozen=True)
class Calibration:
    """Corrections of a latency table, and the error that remains with them.

    Attributes:
        scale: A factor on the latency of every kernel.
        corrections: A further factor by kind of kernel, as `kind_of` names it; 1 where absent.
        overhead_us: Microseconds that are added to every kernel; may be negative.
        error: The error with corrections, each network predicted from all others.
        before: The error for the same networks without corrections.
        conditions: Device, runtime and threads of the table to which the calibration belongs.
        networks: The measured networks.
    """

    scale: float
    corrections: Mapping[str, float]
    overhead_us: float
    error: PredictionError
    before: PredictionError
    conditions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    networks: tuple[WholeNetwork, ...] = ()

    def factor(self, kind: str) -> float:
        """The factor on the latency of a kernel of this kind."""
        return self.scale * self.corrections.get(kind, 1.0)

    def write(self, path: Path) -> None:
        """Write the calibration to a JSON file, which `read_calibration` reads."""
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
    format: Literal[1, 2]
    calibration: Annotated[Calibration, AfterValidator(_checked)]


_CONTENT = TypeAdapter(_File)
_UNSAID = {"seams": "none"}  # what calibrations that do not name a condition were made with
_REMEDY = "delete it and calibrate again"


def calibration_path(table: Path) -> Path:
    """The path of the calibration of a latency table: beside the table."""
    return table.with_suffix(".calibration.json")


def read_calibration(path: Path, *, conditions: Mapping[str, str]) -> Calibration:
    """The calibration in the file `path`.

    Args:
        path: The file.
        conditions: Device, runtime and threads of the table, with which the calibration must agree.

    Raises:
        UnreadableFile: If the file cannot be read.
        TargetError: If the calibration was measured under other conditions.
    """
    file = read_json(path, _CONTENT, what="calibration", remedy=_REMEDY)
    found = file.calibration if file.format == FORMAT else _named(file.calibration)
    unsaid = {name: value for name, value in _UNSAID.items() if name in conditions}
    for name, value in {**unsaid, **found.conditions}.items():
        if conditions.get(name) != value:
            raise TargetError(
                f"calibration {path} was measured with {name} = {value!r}, its table with "
                f"{conditions.get(name)!r}; delete it and calibrate again"
            )
    return found


def _named(calibration: Calibration) -> Calibration:
    """A calibration of format 1 whose kinds hold the names of formats."""
    kinds = {kind: kind.rpartition(" ") for kind in calibration.corrections}
    named = {
        f"{operator} {parse_numerics(bits)[0]}": calibration.corrections[kind]
        for kind, (operator, _, bits) in kinds.items()
    }
    return dataclasses.replace(calibration, corrections=named)


def kind_of(kernel: Kernel, numerics: Numerics) -> str:
    """The kind of a kernel for corrections: class name of its anchor and formats it computes in."""
    return f"{type(kernel.op).__name__} {numerics}"


class Latencies:
    """A cost model with calibrated latencies; its other costs are those of `model`."""

    def __init__(self, model: CostModel, calibration: Calibration) -> None:
        self.model = model
        self.calibration = calibration
        self._alone = model.costs["latency_ms"]

    @property
    def costs(self) -> Mapping[str, Callable[[Kernel, Numerics], float]]:
        """The costs by name, each a function of a kernel and the formats it computes in."""
        return {**self.model.costs, "latency_ms": self.latency_ms}

    def lacking(self, kernels: Iterable[tuple[Kernel, Numerics]]) -> str | None:
        """The kernels that `model` has no cost for and the remedy, in words; None if all have."""
        return self.model.lacking(kernels)

    def latency_ms(self, kernel: Kernel, numerics: Numerics) -> float:
        """The calibrated latency of a kernel for one sample in ms, at least 0."""
        alone = self._alone(kernel, numerics)
        factor = self.calibration.factor(kind_of(kernel, numerics))
        return max(0.0, alone * factor + self.calibration.overhead_us / 1e3)


def calibration_of(target: HardwareTarget) -> Calibration | None:
    """The calibration of a target's latencies; None where they are not calibrated."""
    return target.model.calibration if isinstance(target.model, Latencies) else None


def uncalibrated(target: HardwareTarget) -> HardwareTarget:
    """The target with the latencies of its table, without calibration."""
    if not isinstance(target.model, Latencies):
        return target
    return dataclasses.replace(target, model=target.model.model)
