"""Networks to compare with: the largest one at uniform 8 bits and in full precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from nas.report.data import Reference
from nas.run.measuring import BATCH, deployment_of
from nas.run.plan import Plan
from nas.run.steps.searching import evaluator_of
from nas.targets import HardwareTarget
from search_spaces import costs
from search_spaces.graph import Graph
from search_spaces.policy import full_precision, uniform
from search_spaces.space import SearchSpace
from supernets.supernet import Supernet

_BITS = 8


@dataclass(frozen=True)
class Yardstick:
    """A network of the space's largest shape and its validation error in percent."""

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
    images, labels = plan.task.validation.images, plan.task.validation.labels
    parts = (part.to(deployment.device) for part in images.split(BATCH))
    with torch.no_grad():
        answers = torch.cat([module(part).argmax(1).cpu() for part in parts])
    error = 100.0 * float(np.mean((answers != labels).numpy()))
    graph = full_precision(plan.space.decode(largest))
    return Yardstick("full precision, largest", graph, error)


def _counts(graph: Graph) -> Mapping[str, float]:
    return {
        "macs": costs.total(costs.macs, graph),
        "bitops": costs.total(costs.bitops, graph),
        "model_bytes": costs.total(costs.model_bytes, graph),
    }
