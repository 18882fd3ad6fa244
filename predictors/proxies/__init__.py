"""Zero-cost proxies: scores of a network that need one batch and no training.

    score(module, (inputs, targets), loss)["naswot"]

Read the modules in this order: `proxy` (the type), `subject` (the passes that proxies share), one
file per proxy or family, `sensitivity` (the loss that each precision causes), `ranking` (how well
each proxy ranks), `estimate` (values for populations).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from predictors.proxies.az import AZ_NAS
from predictors.proxies.compositions import EMQ
from predictors.proxies.counts import BITOPS, COUNTS
from predictors.proxies.gradients import FISHER, GRADIENTS, GRASP, L2_NORM, PLAIN
from predictors.proxies.jacobian import EPE_NAS, JACOB_COV
from predictors.proxies.meco import MECO
from predictors.proxies.naswot import NASWOT
from predictors.proxies.ntk import NTK
from predictors.proxies.precision import (
    EMPIRICAL_FISHER,
    HESSIAN,
    ORTHOGONALITY,
    OUTPUT_DISTANCE,
    SQNR,
)
from predictors.proxies.probe import Batch, Loss
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject, relative_distance
from predictors.proxies.synflow import SYNFLOW
from predictors.proxies.zen import ZEN
from predictors.proxies.zico import ZICO

PROXIES: Sequence[Proxy] = (
    *(COUNTS, BITOPS, L2_NORM, GRADIENTS, PLAIN, FISHER, GRASP, SYNFLOW),
    *(JACOB_COV, EPE_NAS, NASWOT, ZEN, ZICO, NTK, MECO, AZ_NAS, EMQ),
    *(SQNR, OUTPUT_DISTANCE, EMPIRICAL_FISHER, HESSIAN, ORTHOGONALITY),
)
"""The proxies that are shipped."""


@dataclass(frozen=True, eq=False)
class Scores(Mapping[str, float]):
    """The values of proxies for one network, by name.

    Attributes:
        found: Name -> the value for the network, and those for its layers.
    """

    found: Mapping[str, Value]

    @property
    def layers(self) -> dict[str, Mapping[str, float]]:
        """Name -> path of a module -> value; empty for a proxy that says nothing of layers."""
        return {name: value.layers for name, value in self.found.items()}

    def __getitem__(self, name: str) -> float:
        return self.found[name].total

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def score(
    module: nn.Module,
    batch: Batch,
    loss: Loss,
    *,
    proxies: Sequence[Proxy] = PROXIES,
    quantized: nn.Module | None = None,
    distance: Loss = relative_distance,
) -> Scores:
    """The values of proxies for one network, by name, and in `layers` those of its modules.

    A value that is not a number, or that a proxy does not give for such a network, becomes minus or
    plus infinity, whichever is worse for its proxy. The module is left as it was: parameters,
    buffers, gradients, training flags, hooks and torch's generators. The same arguments give the
    same values. Passes that several proxies need are made once.

    Args:
        module: The network.
        batch: Inputs, one tensor `(n, ...)` or tensors by argument of the module, and targets.
        loss: Maps outputs and targets to a scalar, such as `criterion.plain` of a task.
        proxies: The proxies to compute.
        quantized: The same network with rounded weights and activations, for proxies of precision.
            By default it is the module itself, and the network in full precision is the module
            without its roundings; then errors of weights are known only if torch's fake quantizers
            round them.
        distance: Maps outputs and those in full precision to a scalar, such as
            `criterion.distance` of a task; by default the relative squared difference.

    Raises:
        ValueError: If a proxy of gradients is asked for, and the module has no weight of two or
            more dimensions.
    """
    subject = Subject.of(module, batch, loss, quantized=quantized, distance=distance)
    result: dict[str, Value] = {}
    for proxy in proxies:
        given = proxy.score(subject)
        for name, larger_is_better in proxy.larger_is_better.items():
            worst = -math.inf if larger_is_better else math.inf
            value = given.get(name, Value(math.nan))
            layers = {path: _or(worst, x) for path, x in value.layers.items()}
            result[name] = Value(_or(worst, value.total), layers)
    return Scores(result)


def _or(worst: float, value: float) -> float:
    return worst if math.isnan(value) else value
