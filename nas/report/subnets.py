"""Subnets in the results of a run: evaluated ones, those of a front, and the chosen one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from nas.facts.noise import Interval
from nas.report.estimates import Comparison, Estimate
from nas.targets.numerics import FULL
from search_spaces.space import Genotype

Costs = Mapping[str, float]
Description = Mapping[str, JsonValue]


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
    """A measured subnet that no other measured subnet dominates on this target.

    Attributes:
        genotype: The subnet.
        error: The error on the validation split.
        costs: All costs on this target.
        description: The picked options.
        interval: The interval of the error, if the losses of all samples are known.
        p_value: The chance of so large a difference to the member with the next larger error, if
            both were equally good; None for the member with the largest error.
    """

    genotype: Genotype
    error: float
    costs: Costs
    description: Description = field(default_factory=dict)
    interval: Interval | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class PredictedPoint:
    """A point of the Pareto front that is predicted for the whole space."""

    costs: Costs
    error: float
    std: float = 0.0


@dataclass(frozen=True)
class Reference:
    """A network for comparison, such as the largest one with 8 bits everywhere.

    `objection` is the reason why the device cannot take the network: empty where it can, None for a
    network that is no candidate.
    """

    name: str
    error: float
    costs: Costs
    interval: Interval | None = None
    objection: str | None = None


@dataclass(frozen=True)
class Largest:
    """What training made of the largest network of the space, on the validation split.

    Attributes:
        full_precision: The error in full precision.
        uniform: The error with 8 bits everywhere; `None` if the space has no such network.
        p_value: The chance of so large a difference between the two, if both were equally good.
        constant: The error of the best answer that is the same for all samples, if it is known.
        interval: The interval of the error in full precision.
    """

    full_precision: float
    uniform: float | None = None
    p_value: float | None = None
    constant: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True)
class LayerPolicy:
    """One layer of the chosen subnet.

    `width` is the number of output channels. `kernel` is `None` for an operator without a kernel,
    and its height and width where these differ. `weight` and `activation` are names of number
    formats, `float` in full precision, as in `int4-per-group-32` for a weight with groups.
    """

    address: str
    operator: str
    width: int
    kernel: int | tuple[int, int] | None = None
    weight: str = FULL
    activation: str = FULL
    macs: float = 0.0


@dataclass(frozen=True)
class DrawnNode:
    """An operator in the drawing of the chosen subnet: an input, a layer, or where paths meet.

    Attributes:
        address: The address in the graph.
        operator: The name of the operator.
        reads: The addresses of the drawn operators whose results arrive here.
        weight: The format of the weight; `None` for an operator without one.
        activation: The format of what is read; `None` for an input.
    """

    address: str
    operator: str
    reads: tuple[str, ...] = ()
    weight: str | None = None
    activation: str | None = None


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
        test_intervals: The intervals of `test_metrics` by name, and that of the error as `error`.
    """

    form: str
    path: str
    test_error: float | None = None
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    bytes: Comparison = field(default_factory=Comparison)
    output_difference: float | None = None
    agreement: float | None = None
    nodes: Mapping[str, int] = field(default_factory=dict)
    test_intervals: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class CostCheck:
    """The latency in ms of a network as the sum of its kernels, and measured as a whole."""

    genotype: Genotype
    predicted: float
    measured: Estimate


@dataclass(frozen=True)
class Chosen:
    """The subnet that is chosen for a target: the best measured one within its limits.

    `error` is that on the validation split, predicted before and measured by the search.
    `latency_ms` is predicted from the target's table and measured for the whole network. `graph`
    has the inputs, the layers, and the operators where several paths meet.
    """

    genotype: Genotype
    error: Comparison
    costs: Costs
    layers: tuple[LayerPolicy, ...] = ()
    description: Description = field(default_factory=dict)
    latency_ms: Comparison | None = None
    files: tuple[ExportedFile, ...] = ()
    graph: tuple[DrawnNode, ...] = ()

    @property
    def file(self) -> ExportedFile | None:
        """The file in the first export form of the recipe; None without a file."""
        return self.files[0] if self.files else None
