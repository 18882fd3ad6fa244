"""Networks to compare with: the largest one at uniform 8 bits and in full precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.evaluation.answers import Answers
from nas.report.subnets import Largest, Reference
from nas.run.measuring import BATCH, deployment_of
from nas.run.plan import Plan
from nas.run.steps.searching import evaluator_of, validation_shown
from nas.targets import HardwareTarget
from nas.tasks import Split
from search_spaces import costs
from search_spaces.graph import Graph
from search_spaces.policy import full_precision, uniform
from search_spaces.space import Genotype, SearchSpace
from supernets.inputs import to_device
from supernets.supernet import Supernet

_BITS = 8


@dataclass(frozen=True)
class Yardstick:
    """A network of the space's largest shape and its answers on the validation split."""

    name: str
    graph: Graph
    answers: Answers

    def on(self, target: HardwareTarget) -> Reference | None:
        """The yardstick on `target`, or None where it does not run or was not measured."""
        if target.lacking(SearchSpace(self.graph)) is not None:
            return None
        known = target.costs(self.graph)
        if not all(map(math.isfinite, known.values())):
            return None
        costs = {**_counts(self.graph), **known}
        return Reference(self.name, self.answers.error, costs, self.answers.interval)


@dataclass(frozen=True)
class Yardsticks:
    """The networks that a user would ship without a search.

    Attributes:
        full_precision: The largest network in full precision.
        uniform: The largest network with 8 bits everywhere; None if the space has none.
        constant: The error of the best answer that is the same for all samples, if it is known.
    """

    full_precision: Yardstick
    uniform: Yardstick | None
    constant: float | None

    def on(self, target: HardwareTarget) -> tuple[Reference, ...]:
        """The networks that run on `target`, as references."""
        both = (
            [self.full_precision] if self.uniform is None else [self.full_precision, self.uniform]
        )
        return tuple(found for one in both if (found := one.on(target)) is not None)

    @property
    def summary(self) -> Largest:
        """The errors of the networks, and whether their difference may be chance."""
        full = self.full_precision.answers
        if self.uniform is None:
            return Largest(full.error, constant=self.constant, interval=full.interval)
        eight = self.uniform.answers
        chance = full.chance_of_equals(eight)
        return Largest(full.error, eight.error, chance, self.constant, full.interval)


def yardsticks(plan: Plan, supernet: Supernet) -> Yardsticks:
    """The yardsticks of a run, measured on the validation samples of its search."""
    shown = validation_shown(plan)
    genotype = uniform(plan.space, _BITS, plan.space.largest)
    return Yardsticks(
        _full_precision(plan, supernet, shown),
        None if genotype is None else _uniform(plan, supernet, genotype),
        plan.task.criterion.constant_error(shown.targets),
    )


def _uniform(plan: Plan, supernet: Supernet, genotype: Genotype) -> Yardstick:
    with evaluator_of(plan, supernet) as evaluate:
        ((evaluation,),) = evaluate([genotype])
    if evaluation.answers is None:
        raise TypeError("an evaluator of a supernet reports the loss of every sample")
    name = f"uniform {_BITS}-bit, largest"
    return Yardstick(name, plan.space.decode(genotype), evaluation.answers)


def _full_precision(plan: Plan, supernet: Supernet, shown: Split) -> Yardstick:
    largest, deployment = plan.space.largest, deployment_of(plan, supernet)
    module = deployment.full_precision(largest)
    losses: list[Tensor] = []
    with torch.no_grad():
        for inputs, targets in shown.batches(BATCH):
            output = module(**to_device(inputs, deployment.device)).cpu()
            losses.append(plan.task.criterion.losses(output, targets.cpu()))
    answers = Answers.of(torch.cat(losses).numpy(), len(shown))
    graph = full_precision(plan.space.decode(largest))
    return Yardstick("full precision, largest", graph, answers)


def _counts(graph: Graph) -> Mapping[str, float]:
    return {
        "macs": costs.total(costs.macs, graph),
        "bitops": costs.total(costs.bitops, graph),
        "model_bytes": costs.total(costs.model_bytes, graph),
    }
