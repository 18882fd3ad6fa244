"""The results of a run, from which its report is made; `store` writes them to `results.json`.

Fields that are filled in late have a default, so an unfinished run has results as well. The name
of a cost has its unit (`latency_ms`, `model_bytes`). A cost is infinite if a target cannot run the
network. Errors are losses of the task's criterion, whose words `Results` holds; so are costs and
limits of a name that is in `Results.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import FiniteFloat, JsonValue

from nas.facts.data_facts import DataFacts
from nas.report.estimates import Estimate, LatencyBand
from nas.report.subnets import (
    Chosen,
    CostCheck,
    Costs,
    FrontPoint,
    Largest,
    Point,
    PredictedPoint,
    Reference,
)
from nas.report.words import Words
from search_spaces.space import Genotype

Origin = Literal["measured", "imported", "simulated", "analytical", "predicted", "counted"]


@dataclass(frozen=True)
class FigureOrigin:
    """The origin of one figure of the report, with an explanation in words."""

    name: str
    origin: Origin
    note: str


@dataclass(frozen=True)
class Provenance:
    """The origin of a target's costs."""

    origin: Origin
    device: str = ""
    runtime: str = ""
    date: str = ""


@dataclass(frozen=True)
class CostRange:
    """One cost of the smallest, the median and the largest network of the space."""

    smallest: float
    median: float
    largest: float


@dataclass(frozen=True)
class SpaceSummary:
    """The searched space; `networks` is the exact number of distinct networks, in digits."""

    name: str
    choices: int
    networks: str
    costs: Mapping[str, CostRange] = field(default_factory=dict)


@dataclass(frozen=True)
class LossPoint:
    """The training loss after `epoch` epochs of a phase, such as full precision or elastic."""

    epoch: FiniteFloat
    loss: FiniteFloat
    phase: str = "training"


@dataclass(frozen=True)
class TrainingSummary:
    """The duration and the loss curve of the supernet's training.

    Attributes:
        favoured: The subnet that a search joined to the training has found best.
    """

    seconds: FiniteFloat
    epochs: FiniteFloat
    curve: tuple[LossPoint, ...] = ()
    favoured: Genotype | None = None


@dataclass(frozen=True)
class HypervolumePoint:
    """The share of the box up to the reference point that is dominated after some evaluations."""

    evaluations: int
    share: float


@dataclass(frozen=True)
class TargetResult:
    """The results of a run for one device.

    Attributes:
        name: The name of the target.
        provenance: The origin of its costs.
        objectives: The costs that are minimised together with the error.
        limits: Hard upper limits on costs.
        tolerance: The error that a cheaper subnet may be worse than the best to be chosen.
        costs: Every cost of every evaluated subnet, in the order of `Results.evaluated`.
        front: The measured Pareto front, cheapest first.
        predicted_front: The Pareto front that is predicted for the whole space, cheapest first.
        references: Networks for comparison.
        reference_point: The worst corner of the box of which hypervolume is a share.
        hypervolume: The growth of the hypervolume over the evaluations.
        cost_checks: Predicted and measured latencies of some subnets of the front.
        chosen: The chosen subnet; `None` if none is chosen yet or none meets the limits.
        latency_band: The error of predicted latencies; `None` if that was not measured.
        notes: Sentences that a reader must know.
        memory: The bytes that the device has for a cost, such as flash for `model_bytes`.
        exact_share: The share of the exact front's hypervolume that was found; None if no exact
            front is known.
    """

    name: str
    provenance: Provenance
    objectives: tuple[str, ...]
    limits: Costs = field(default_factory=dict)
    tolerance: float = 0.0
    costs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    front: tuple[FrontPoint, ...] = ()
    predicted_front: tuple[PredictedPoint, ...] = ()
    references: tuple[Reference, ...] = ()
    reference_point: Mapping[str, float] = field(default_factory=dict)
    hypervolume: tuple[HypervolumePoint, ...] = ()
    cost_checks: tuple[CostCheck, ...] = ()
    chosen: Chosen | None = None
    latency_band: LatencyBand | None = None
    notes: tuple[str, ...] = ()
    memory: Costs = field(default_factory=dict)
    exact_share: FiniteFloat | None = None

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ValueError(f"target {self.name!r} needs at least one objective, given none")

    @property
    def measured_latency_ms(self) -> dict[Genotype, Estimate]:
        """The latency in ms of every subnet that was run as a whole on the device."""
        found = {check.genotype: check.measured for check in self.cost_checks}
        chosen = self.chosen
        if chosen is not None and chosen.latency_ms is not None and chosen.latency_ms.measured:
            found[chosen.genotype] = chosen.latency_ms.measured
        return found


@dataclass(frozen=True)
class ProxyRank:
    """The quality of one zero-cost proxy's ranking of the evaluated subnets.

    Attributes:
        direction: "higher" or "lower": the value of the proxy that promises a smaller error.
        tau: Kendall's tau with the measured ranking: 1 is the same order, 0 is no relation.
        count: The number of ranked subnets.
    """

    direction: str
    tau: float
    count: int


@dataclass(frozen=True)
class TableSummary:
    """The table that was searched; `rows` is 0 if a formula gives the figures."""

    rows: int
    source: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """The results of a run so far.

    Attributes:
        run: The name of the run.
        seed: The seed from which all randomness of the run derives.
        space: The searched space.
        words: The words of errors, further metrics and costs.
        task: One sentence on the data and its splits.
        data: What was read; `None` for a table of networks.
        usage: What exported files tell of their inputs and their output (`nas.facts.usage`).
        recipe: The resolved recipe.
        versions: Name of a software or the platform -> its version.
        date: The time at which these results were written, ISO 8601.
        budget: The number of evaluations that the recipe allows.
        training: The supernet's training; `None` until the supernet is trained.
        table: The table that was searched in place of a supernet; else `None`.
        largest: The largest network of the space; `None` for a table of networks.
        evaluated: All evaluated subnets, in order.
        targets: One result per device.
        proxies: Name of a proxy -> quality of its ranking.
        figures: The origins of further figures, which the fields above do not tell.
    """

    run: str
    seed: int
    space: SpaceSummary
    words: Words
    task: str = ""
    data: DataFacts | None = None
    usage: Mapping[str, JsonValue] = field(default_factory=dict)
    recipe: Mapping[str, JsonValue] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    budget: int | None = None
    training: TrainingSummary | None = None
    table: TableSummary | None = None
    largest: Largest | None = None
    evaluated: tuple[Point, ...] = ()
    targets: tuple[TargetResult, ...] = ()
    proxies: Mapping[str, ProxyRank] = field(default_factory=dict)
    figures: tuple[FigureOrigin, ...] = ()

    def __post_init__(self) -> None:
        files = [file for one in self.targets if one.chosen for file in one.chosen.files]
        named = {name for file in files for name in file.test_metrics}
        if unknown := sorted(named - {*self.words.metrics}):
            raise ValueError(
                f"files have figures without words, {', '.join(unknown)}; the words are of "
                f"{', '.join(self.words.metrics) or 'no further metric'}"
            )
