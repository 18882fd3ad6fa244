"""All that a report needs to know of a run; `store` writes it to `results.json`.

Every field that a run fills in late has a default, so an unfinished run has results as well.
Costs are named with their unit (`latency_ms`, `model_bytes`) and may be infinite where a target
cannot run the network; errors and accuracies are in percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import FiniteFloat, JsonValue

from search_spaces.space import Genotype

Costs = Mapping[str, float]
Description = Mapping[str, JsonValue]
NORMAL_90 = 1.645  # standard deviations that hold 90 % of a normal distribution
Origin = Literal["measured", "imported", "simulated", "analytical", "predicted", "counted"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard deviation, where one is known."""

    mean: float
    std: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One figure as it was predicted and as it was measured; `None` where it was not."""

    predicted: Estimate | None = None
    measured: Estimate | None = None


@dataclass(frozen=True)
class FigureOrigin:
    """How one figure of the report came about."""

    name: str
    origin: Origin
    note: str


@dataclass(frozen=True)
class Provenance:
    """Where a target's costs come from."""

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
    """The search space; `networks` is the exact number of distinct networks in decimal digits."""

    name: str
    choices: int
    networks: str
    costs: Mapping[str, CostRange] = field(default_factory=dict)


@dataclass(frozen=True)
class LossPoint:
    """The training loss after `epoch` epochs of `phase` (full precision, elastic, ...)."""

    epoch: FiniteFloat
    loss: FiniteFloat
    phase: str = "training"


@dataclass(frozen=True)
class TrainingSummary:
    """How the supernet was trained."""

    seconds: FiniteFloat
    epochs: FiniteFloat
    curve: tuple[LossPoint, ...] = ()


@dataclass(frozen=True)
class Point:
    """One true evaluation; `predicted` is the error as predicted before it was measured.

    Where it was `stopped` early, its error is an estimate.
    """

    genotype: Genotype
    order: int
    metrics: Mapping[str, float]
    predicted: Estimate | None = None
    stopped: bool = False


@dataclass(frozen=True)
class FrontPoint:
    """A measured subnet that no other one beats on this target."""

    genotype: Genotype
    error: float
    costs: Costs
    description: Description = field(default_factory=dict)


@dataclass(frozen=True)
class PredictedPoint:
    """A point of the front that is predicted over the whole space."""

    costs: Costs
    error: float
    std: float = 0.0


@dataclass(frozen=True)
class Reference:
    """A network to compare with, such as the uniform 8-bit largest one."""

    name: str
    error: float
    costs: Costs


@dataclass(frozen=True)
class HypervolumePoint:
    """The dominated share of the box below the reference point after so many evaluations."""

    evaluations: int
    share: float


@dataclass(frozen=True)
class CostCheck:
    """The whole network's latency on the device against the sum of its kernels, in ms."""

    genotype: Genotype
    predicted: float
    measured: Estimate


@dataclass(frozen=True)
class LatencyBand:
    """How far predicted latencies are from whole networks measured on the device.

    Attributes:
        median: Half of the networks were closer than this share of the measured latency.
        tail: 90 % were.
        within_5: Share of networks within 5 %.
        within_10: Share within 10 %.
        networks: How many were measured, each predicted from the others.
    """

    median: float
    tail: float
    within_5: float
    within_10: float
    networks: int

    def estimate(self, latency_ms: float) -> Estimate:
        """A predicted latency with the standard deviation that puts 90 % within the tail."""
        return Estimate(latency_ms, latency_ms * self.tail / NORMAL_90)


@dataclass(frozen=True)
class LayerPolicy:
    """What the chosen subnet does in one layer; bits are `None` at full precision.

    `width` counts output channels; `kernel` is `None` where the operator has none.
    """

    address: str
    operator: str
    width: int
    kernel: int | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None
    macs: float = 0.0


@dataclass(frozen=True)
class ExportedFile:
    """The file that ships, as it was run.

    Attributes:
        form: What recipes call its form.
        path: Where it lies, relative to the run folder; a folder in some forms.
        test_accuracy: Percent right on the test split, from this file.
        bytes: Its size, predicted and real.
        logit_difference: Largest absolute difference to the extracted module's logits.
        agreement: Percent of the test split with the same answer as the extracted module.
        nodes: Operator type -> how many of them the file holds.
    """

    form: str
    path: str
    test_accuracy: float | None = None
    bytes: Comparison = Comparison()
    logit_difference: float | None = None
    agreement: float | None = None
    nodes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """The subnet a target gets: the best measured one within its limits.

    `error` is on the validation split, predicted before and measured by the search; `latency_ms`
    is predicted by the target's table and measured end to end.
    """

    genotype: Genotype
    error: Comparison
    costs: Costs
    layers: tuple[LayerPolicy, ...] = ()
    description: Description = field(default_factory=dict)
    latency_ms: Comparison | None = None
    files: tuple[ExportedFile, ...] = ()

    @property
    def file(self) -> ExportedFile | None:
        """The file in the first of the recipe's forms."""
        return self.files[0] if self.files else None


@dataclass(frozen=True)
class TargetResult:
    """What a run found for one device.

    Attributes:
        name: The target's name.
        provenance: Where its costs come from.
        objectives: The costs that span the front beside the error.
        limits: Hard upper limits on costs.
        tolerance: Points of error that a cheaper subnet may be worse than the best to be chosen.
        costs: Every cost of every evaluated subnet, in the order of `Results.evaluated`.
        front: The measured front, cheapest first.
        predicted_front: The front predicted over the whole space, cheapest first.
        references: Networks to compare with.
        reference_point: The worst corner of the box that hypervolume is a share of.
        hypervolume: Its growth over the true evaluations.
        cost_checks: Predicted and measured latencies of some of the front.
        chosen: The subnet picked; `None` if none is yet or none meets the limits.
        latency_band: How good predicted latencies are; `None` where nobody measured it.
        notes: Sentences that a reader must know.
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

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ValueError(f"target {self.name!r} needs at least one objective, given none")

    @property
    def measured_latency_ms(self) -> dict[Genotype, Estimate]:
        """The latency of every subnet that was run as a whole on the device."""
        found = {check.genotype: check.measured for check in self.cost_checks}
        chosen = self.chosen
        if chosen is not None and chosen.latency_ms is not None and chosen.latency_ms.measured:
            found[chosen.genotype] = chosen.latency_ms.measured
        return found


@dataclass(frozen=True)
class ProxyRank:
    """How well one zero-cost proxy ranked the evaluated subnets.

    Attributes:
        direction: "higher" or "lower", whichever the proxy says is better.
        tau: Kendall tau against the measured ranking; 1 agrees wholly, 0 says nothing.
        count: Subnets it was measured on.
    """

    direction: str
    tau: float
    count: int


@dataclass(frozen=True)
class TableSummary:
    """The table that was searched; 0 rows where a formula gives the figures."""

    rows: int
    source: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """What a run found so far.

    Attributes:
        run: The run's name.
        seed: The seed that everything random derives from.
        space: The space that was searched.
        task: One sentence on the data and its splits.
        recipe: The resolved recipe.
        versions: Software and platform -> version.
        date: When these results were written, ISO 8601.
        budget: True evaluations that the recipe allows.
        training: `None` until the supernet is trained.
        table: The table that was searched in place of a supernet, if one was.
        evaluated: Every true evaluation, in order.
        targets: One result per device.
        proxies: Proxy name -> how well it ranked.
        figures: How figures came about, beyond what the fields above tell.
    """

    run: str
    seed: int
    space: SpaceSummary
    task: str = ""
    recipe: Mapping[str, JsonValue] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    budget: int | None = None
    training: TrainingSummary | None = None
    table: TableSummary | None = None
    evaluated: tuple[Point, ...] = ()
    targets: tuple[TargetResult, ...] = ()
    proxies: Mapping[str, ProxyRank] = field(default_factory=dict)
    figures: tuple[FigureOrigin, ...] = ()
