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

from nas.metric import ACCURACY, ERROR, MetricWords
from nas.report.estimates import Comparison, Estimate, LatencyBand
from search_spaces.space import Genotype

Costs = Mapping[str, float]
Description = Mapping[str, JsonValue]
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
    """The duration and the loss curve of the supernet's training."""

    seconds: FiniteFloat
    epochs: FiniteFloat
    curve: tuple[LossPoint, ...] = ()


@dataclass(frozen=True)
class Point:
    """One evaluated subnet; `predicted` is the error that was predicted before the evaluation.

    If the evaluation was `stopped` early, the error in `metrics` is an estimate.
    """

    genotype: Genotype
    order: int
    metrics: Mapping[str, float]
    predicted: Estimate | None = None
    stopped: bool = False


@dataclass(frozen=True)
class FrontPoint:
    """A measured subnet that no other measured subnet dominates on this target."""

    genotype: Genotype
    error: float
    costs: Costs
    description: Description = field(default_factory=dict)


@dataclass(frozen=True)
class PredictedPoint:
    """A point of the Pareto front that is predicted for the whole space."""

    costs: Costs
    error: float
    std: float = 0.0


@dataclass(frozen=True)
class Reference:
    """A network for comparison, such as the largest one with 8 bits everywhere."""

    name: str
    error: float
    costs: Costs


@dataclass(frozen=True)
class HypervolumePoint:
    """The share of the box up to the reference point that is dominated after some evaluations."""

    evaluations: int
    share: float


@dataclass(frozen=True)
class CostCheck:
    """The latency in ms of a network as the sum of its kernels, and measured as a whole."""

    genotype: Genotype
    predicted: float
    measured: Estimate


@dataclass(frozen=True)
class LayerPolicy:
    """One layer of the chosen subnet; bits are `None` at full precision.

    `width` is the number of output channels. `kernel` is `None` for an operator without a kernel,
    and its height and width where these differ.
    """

    address: str
    operator: str
    width: int
    kernel: int | tuple[int, int] | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None
    macs: float = 0.0


@dataclass(frozen=True)
class ExportedFile:
    """An exported file of the chosen subnet, with the results of running this file.

    Attributes:
        form: The name of the export form in recipes.
        path: The path relative to the run folder; a folder in some forms.
        test_error: The error on the test split, computed with this file.
        test_metrics: The losses of the criterion's further metrics there, by name.
        bytes: The predicted and the real size.
        output_difference: Largest absolute difference to the outputs of the extracted module.
        agreement: Percent of the answers that are those of the extracted module; None for tasks
            whose answers are no choices.
        nodes: Operator type -> number of such operators in the file.
    """

    form: str
    path: str
    test_error: float | None = None
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    bytes: Comparison = field(default_factory=Comparison)
    output_difference: float | None = None
    agreement: float | None = None
    nodes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """The subnet that is chosen for a target: the best measured one within its limits.

    `error` is that on the validation split, predicted before and measured by the search.
    `latency_ms` is predicted from the target's table and measured for the whole network.
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
        """The file in the first export form of the recipe; None without a file."""
        return self.files[0] if self.files else None


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
        task: One sentence on the data and its splits.
        recipe: The resolved recipe.
        versions: Name of a software or the platform -> its version.
        date: The time at which these results were written, ISO 8601.
        budget: The number of evaluations that the recipe allows.
        training: The supernet's training; `None` until the supernet is trained.
        table: The table that was searched in place of a supernet; else `None`.
        evaluated: All evaluated subnets, in order.
        targets: One result per device.
        proxies: Name of a proxy -> quality of its ranking.
        error: The words of the searched loss `error`.
        shown: The words in which a reader is told the error of a finished file.
        metrics: The words of the criterion's figures, by the name that costs and limits have.
        figures: The origins of further figures, which the fields above do not tell.
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
    error: MetricWords = ERROR
    shown: MetricWords = ACCURACY
    metrics: Mapping[str, MetricWords] = field(default_factory=dict)
    figures: tuple[FigureOrigin, ...] = ()
