"""Results of two devices and five subnets, small enough to be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from nas.report.data import Provenance, Results, SpaceSummary, TargetResult
from nas.report.estimates import Comparison
from nas.report.subnets import Chosen, LayerPolicy, Point
from nas.report.words import Words
from tests.nas.report.sample import CLASSES

ERRORS = (1.0, 1.0, 1.4, 3.0, 8.0)
FAST = {"latency_ms": (9.0, 8.0, 4.0, 2.0, 1.0), "model_bytes": (900.0, 800.0, 400.0, 200.0, 100.0)}
SLOW = {name: tuple(10 * value for value in values) for name, values in FAST.items()}


def chosen(row: int, costs: dict[str, tuple[float, ...]], *, layers: int = 0) -> Chosen:
    """The subnet in a row, with so many layers that are told."""
    made = tuple(
        LayerPolicy(f"l{n}", "Conv2d", 4 * (row + 1), 3, "int8", "uint8") for n in range(layers)
    )
    known = {name: values[row] for name, values in costs.items()}
    return Chosen((row,), Comparison(), known, layers=made, description={"depth": row})


def device(name: str, row: int, costs: dict[str, tuple[float, ...]], **known) -> TargetResult:
    """A device that got the subnet in a row."""
    pick = chosen(row, costs, layers=known.pop("layers", 0))
    where, objectives = Provenance("analytical"), known.pop("objectives", ("latency_ms",))
    return TargetResult(name, where, objectives, costs=costs, chosen=pick, **known)


def of(*targets: TargetResult, stopped: int | None = None, words: Words = CLASSES) -> Results:
    """A run over these devices, in which the subnet in row `stopped` was stopped early."""
    points = [Point((row,), row, {"error": error}) for row, error in enumerate(ERRORS)]
    if stopped is not None:
        points[stopped] = replace(points[stopped], stopped=True)
    space = SpaceSummary("five", 1, "5")
    return Results("two", 0, space, words, evaluated=tuple(points), targets=targets)
