"""The evaluations of a search in Python so far, as networks with picks, figures and costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.api.network import Failure, Network
from nas.api.objective import FAILED
from nas.api.problem import NO_COST, Asked
from nas.archive.archive import Archive
from nas.evaluation.evaluation import ERROR, Evaluation
from nas.evaluation.measurements import Measurements
from nas.facts.metric import MetricWords
from nas.problem.goals import Goal
from nas.report.subnets import Reference
from search_spaces.space import SearchSpace


class Evaluated:
    """The evaluations of a search, and what was searched for.

    Args:
        asked: The problem, and the origins of its costs.
        archive: The archive of the evaluations.
        metric: The words of the searched figure.
        name: The name of the search.
        budget: The number of networks to evaluate.
        batch: The number of networks per round.
        seed: The seed of the search.
    """

    def __init__(
        self,
        asked: Asked,
        archive: Archive,
        *,
        metric: MetricWords,
        name: str,
        budget: int,
        batch: int,
        seed: int,
    ) -> None:
        self.asked, self.metric, self.name = asked, metric, name
        self.budget, self.batch, self.seed = budget, batch, seed
        self._archive = archive

    source = "an objective in Python"
    """Where the figures come from, in words."""

    def references(self, goal: Goal) -> tuple[Reference, ...]:
        """Networks to compare with on a target."""
        return ()

    def notes(self, goal: Goal) -> tuple[str, ...]:
        """Sentences on the network that is chosen for a target."""
        return ()

    @property
    def space(self) -> SearchSpace:
        """The space that is searched: the one given, without options that no target runs."""
        return self.asked.problem.space

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The goal on each target."""
        return self.asked.problem.goals

    def __len__(self) -> int:
        return len(self._archive)

    @property
    def measured(self) -> Measurements:
        """All evaluations that did not fail, as arrays."""
        held = self._archive.measurements()
        return held[np.array([FAILED not in one.metrics for one in held.evaluations], np.bool_)]

    @property
    def networks(self) -> list[Network]:
        """All evaluated networks in the order of their evaluation, without those that failed."""
        return self.networks_of(self.measured.evaluations)

    @property
    def failures(self) -> list[Failure]:
        """The networks of which the objective failed, with the reasons."""
        failed = [one for one in self._archive.evaluations() if FAILED in one.metrics]
        return [
            Failure(self.space.picks(one.genotype), one.where.partition(" ")[2]) for one in failed
        ]

    def chosen(self, goal: Goal) -> Network | None:
        """The best network for a goal; None while no network is within its limits."""
        from nas.run.steps.exporting import chosen

        measured = self.measured
        found = chosen(goal, measured) if len(measured) else None
        return None if found is None else self.networks_of([found])[0]

    def networks_of(self, evaluations: Sequence[Evaluation]) -> list[Network]:
        """Evaluations as networks with picks, figures and costs."""
        measured = Measurements.of(evaluations, self.space)
        costs = {goal.name: costs_of(goal, measured) for goal in self.goals}
        return [
            Network(
                genotype=one.genotype,
                picks=self.space.picks(one.genotype),
                metrics=self.figures_of(one),
                costs={
                    target: {name: float(values[place]) for name, values in known.items()}
                    for target, known in costs.items()
                },
                seconds=one.seconds,
            )
            for place, one in enumerate(evaluations)
        ]

    def figures_of(self, evaluation: Evaluation) -> dict[str, float]:
        """The figures that the objective returned, the searched one first."""
        further = {name: value for name, value in evaluation.metrics.items() if name != ERROR}
        return {self.metric.name: self.metric.figure(evaluation.error), **further}


def costs_of(goal: Goal, measured: Measurements) -> dict[str, NDArray[np.float64]]:
    """All costs of evaluated networks on one target, each `(n,)`, by name, objectives first."""
    costs, names = goal.answered(measured).costs, dict.fromkeys([*goal.objectives, *goal.costs])
    return {name: costs[name](measured.rows) for name in names if name != NO_COST}
