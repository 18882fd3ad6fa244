"""The offers of a run to its searcher: probe, another run, predictor, gradient of the supernet."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nas.parts import Parts
from nas.run.experience import Experience
from nas.run.plan import Plan
from nas.run.probing import Probe
from nas.run.steps.training import device_of
from nas.search.context import Context, Exchange, Knowledge
from nas.search.guided import columns_known
from predictors.calibrated import Calibrated
from predictors.features import Column
from predictors.predictor import Predictor
from search_spaces.space import Genotype, SearchSpace, as_genotypes
from supernets.deploy import on_device
from supernets.exchange import exchanged
from supernets.inputs import to_device
from supernets.supernet import Supernet

_DRAWN = 128
_PREDICTORS = Parts("predictor")


class RunContext(Context):
    """The offers of a run to its searcher.

    Args:
        plan: The run.
        supernet: The trained supernet; None before the training, when no gradient can be computed.
        probe: The scores of zero-cost proxies; None without any.

    Attributes:
        used: The keys of `[search]` whose offers were asked for.
    """

    def __init__(self, plan: Plan, supernet: Supernet | None, probe: Probe | None) -> None:
        self._plan, self._supernet, self._probe = plan, supernet, probe
        self.used: set[str] = set()

    @property
    def known(self) -> int:
        """The evaluations from before this search."""
        return self._plan.recipe.search.known

    @property
    def probe(self) -> Knowledge | None:
        """The probe of this run."""
        return None if self._probe is None else _Probed(self._plan, self._probe)

    @property
    def experience(self) -> Knowledge | None:
        """The run that `search.transfer` names."""
        self.used.add("transfer")
        held = self._plan.experience
        return None if held is None else _Experienced(self._plan, held)

    @property
    def exchange(self) -> Exchange:
        """The change in the supernet's loss from other picks, on random validation samples."""
        return exchange_of(self._plan, self._supernet)

    def predictor(self, space: SearchSpace, columns: Sequence[Column]) -> Predictor:
        """A new predictor of the kind that `search.predictor` names, with repaired deviations.

        Where the recipe names none, that of every search.
        """
        self.used.add("predictor")
        name = self._plan.recipe.search.predictor
        if name is None:
            return super().predictor(space, columns)
        return Calibrated(space, _PREDICTORS[name](space, columns))


@dataclass(frozen=True, eq=False)
class _Probed:
    """The probe of a run, as its searcher sees it."""

    plan: Plan
    held: Probe

    def columns(self) -> list[Column]:
        return self.held.columns(self.plan)

    def first(self, count: int) -> list[Genotype]:
        return self.held.first(self.plan, count)


@dataclass(frozen=True, eq=False)
class _Experienced:
    """The evaluations of another run, as the searcher of this run sees them."""

    plan: Plan
    held: Experience

    def columns(self) -> list[Column]:
        return [self.held.column(self.plan.space)]

    def first(self, count: int) -> list[Genotype]:
        rng = np.random.default_rng([self.plan.recipe.seed, 2])
        return as_genotypes(self.held.first(self.plan.problem.computed, count, rng=rng))


def predictor_of(plan: Plan, probe: Probe | None) -> Predictor:
    """The predictor of errors from picks, costs, the probe and other runs, for the report."""
    return predictor_with(plan, columns_known(plan.problem, RunContext(plan, None, probe)))


def predictor_with(plan: Plan, columns: Sequence[Column] = ()) -> Predictor:
    """The predictor of errors of the kind that the recipe names, from picks and columns."""
    name = plan.recipe.search.predictor or _PREDICTORS.default
    return Calibrated(plan.space, _PREDICTORS[name](plan.space, columns))


def exchange_of(plan: Plan, supernet: Supernet | None) -> Exchange:
    """The change in the supernet's loss from other picks, on random validation samples."""
    device, whole, criterion = device_of(plan), samples_shown(plan), plan.task.criterion
    here = None if supernet is None else on_device(supernet, device)

    def exchange(
        genotype: Genotype, others: Sequence[Genotype], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        if here is None:
            raise ValueError("the supernet is not trained, so its gradient tells nothing yet")
        drawn = torch.from_numpy(rng.permutation(whole)[:_DRAWN])
        inputs, targets = plan.task.validation.at(drawn)
        loss = functools.partial(criterion.plain, target=targets.to(device))
        batch = to_device(inputs, device)
        return exchanged(here, batch, loss, genotype=genotype, others=others)[1]

    return exchange


def samples_shown(plan: Plan) -> int:
    """The number of validation samples that the search shows a subnet."""
    samples = len(plan.task.validation)
    return min(plan.recipe.search.validation_samples or samples, samples)
