"""Networks to compare with: the largest one at uniform 8 bits and in full precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.evaluation.answers import Answers
from nas.report.subnets import Reference
from nas.run.measuring import BATCH, deployment_of
from nas.run.plan import Plan
from nas.run.steps.searching import evaluator_of
from nas.targets import HardwareTarget
from search_spaces import costs
from search_spaces.graph import Graph
from search_spaces.policy import full_precision, uniform
from search_spaces.space import SearchSpace
from supernets.inputs import to_device
from supernets.supernet import Supernet

_BITS = 8


@dataclass(frozen=True)
class Yardstick:
    """A network of the space's largest shape and its error on the validation split."""

    name: str
    graph: Graph
    error: float

    def on(self, target: HardwareTarget) -> Reference | None:
        """The yardstick on `target`, or None where it does not run or was not measured."""
        if target.lacking(SearchSpace(self.graph)) is not None:
            return None
        known = target.costs(self.graph)
        if not all(map(math.isfinite, known.values())):
            return None
        return Reference(self.name, self.error, {**_counts(self.graph), **known})


def yardsticks(plan: Plan, supernet: Supernet) -> list[Yardstick]:
    """The networks that a user would ship without a search."""
    found = [_full_precision(plan, supernet)]
    genotype = uniform(plan.space, _BITS, plan.space.largest)
    if genotype is not None:
        with evaluator_of(plan, supernet) as evaluate:
            ((evaluation,),) = evaluate([genotype])
        name = f"uniform {_BITS}-bit, largest"
        found.append(Yardstick(name, plan.space.decode(genotype), evaluation.error))
    return found


def _full_precision(plan: Plan, supernet: Supernet) -> Yardstick:
    largest, deployment = plan.space.largest, deployment_of(plan, supernet)
    module = deployment.full_precision(largest)
    losses: list[Tensor] = []
    with torch.no_grad():
        for inputs, targets in plan.task.batches("validation", BATCH):
            output = module(**to_device(inputs, deployment.device)).cpu()
            losses.append(plan.task.criterion.losses(output, targets))
    error = Answers.of(torch.cat(losses).numpy(), len(plan.task.validation)).error
    graph = full_precision(plan.space.decode(largest))
    return Yardstick("full precision, largest", graph, error)


def _counts(graph: Graph) -> Mapping[str, float]:
    return {
        "macs": costs.total(costs.macs, graph),
        "bitops": costs.total(costs.bitops, graph),
        "model_bytes": costs.total(costs.model_bytes, graph),
    }
