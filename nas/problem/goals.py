"""The goals of a search: one Pareto front per device, of a measured metric against costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.measurements import Measurements
from nas.targets.device_costs import DeviceCosts
from nas.targets.rules import MEMORIES
from search_spaces.notebook import html_table
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
ArrayCost = Callable[[IntArray], FloatArray]


@dataclass(frozen=True)
class Measured:
    """A cost that cannot be computed but is measured by the evaluator, beside the loss.

    A `Measured` takes the place of a cost function in a `Goal`, such as a further metric of a
    task's criterion. Searchers look such a cost up in their evaluations, or learn it; a searcher
    that needs the costs of networks before their evaluation refuses it.

    Attributes:
        metric: The name of the cost in `Evaluation.metrics`.
    """

    metric: str

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """Raise `ValueError`, since only an evaluation can measure this cost."""
        raise ValueError(
            f"cost {self.metric!r} is measured, so it is not known of {len(genotypes)} networks "
            "before their evaluation; choose a searcher that asks for no cost before, or give the "
            "goal a cost that can be computed"
        )


@dataclass(frozen=True, eq=False)
class Goal:
    """A front to find on one device: a measured metric against costs, computed or `Measured`.

    Attributes:
        name: The hardware target's name.
        costs: Cost name with unit (`latency_ms`) -> the function from `(n, choices)` genotypes to
            costs `(n,)`; infinite where the target cannot run the network at all.
        objectives: The costs that span the front beside the metric.
        limits: Hard upper limits on costs, by name. Where `costs` are what a target's `compile`
            gave, the limits of the device's own memory are added; of two limits the smaller holds.
        origins: Cost name -> a note on the origin of its limit, shown beside the value.
    """

    name: str
    costs: Mapping[str, ArrayCost]
    objectives: tuple[str, ...]
    limits: Mapping[str, float] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.costs, DeviceCosts):
            limits, origins = within_device(self.limits, self.costs.limits)
            object.__setattr__(self, "limits", limits)
            object.__setattr__(self, "origins", {**origins, **self.origins})
        unknown = sorted({*self.objectives, *self.limits} - set(self.costs))
        if unknown or not self.objectives:
            raise ValueError(
                f"goal {self.name!r} needs objectives and limits among its costs "
                f"{sorted(self.costs)}, given {list(self.objectives)} and {dict(self.limits)}"
            )
        senseless = {name: limit for name, limit in self.limits.items() if not limit > 0}
        if senseless:
            raise ValueError(
                f"goal {self.name!r} has the limits {senseless}; costs are positive and every one "
                "is minimised, so give upper limits above 0"
            )

    def __repr__(self) -> str:
        limits = ", ".join(f"{name} ≤ {limit:g}" for name, limit in self.limits.items())
        within = f" within {limits}" if limits else ""
        return f"<Goal {self.name!r}: least error, {', '.join(self.objectives)}{within}>"

    def _repr_html_(self) -> str:
        rows = [
            (
                name,
                "minimised" if name in self.objectives else "",
                f"{self.limits[name]:g}" if name in self.limits else "",
                self.origins.get(name, ""),
            )
            for name in self.costs
        ]
        return html_table(f"Goal {self.name}", ("cost", "", "limit", "origin of the limit"), rows)

    @property
    def computed(self) -> Goal:
        """The goal without `Measured` costs, which is known of every network before evaluations.

        Raises:
            ValueError: All objectives are measured.
        """
        known = {n: cost for n, cost in self.costs.items() if not isinstance(cost, Measured)}
        objectives = tuple(name for name in self.objectives if name in known)
        limits = {name: limit for name, limit in self.limits.items() if name in known}
        return replace(self, costs=known, objectives=objectives, limits=limits)

    def answered(self, found: Measurements) -> Goal:
        """The goal with every `Measured` cost looked up in `found`; it fits only those networks."""

        def known(metric: str) -> ArrayCost:
            costs = found.metric(metric)

            def cost(asked: IntArray) -> FloatArray:
                places = found.places(asked)
                if (places < 0).any():
                    stranger = asked[places < 0][0].tolist()
                    raise ValueError(
                        f"cost {metric!r} is measured, and {stranger} is not among the "
                        f"{len(found)} evaluated networks; ask for evaluated ones"
                    )
                return costs[places]

            return cost

        costs = {
            name: known(cost.metric) if isinstance(cost, Measured) else cost
            for name, cost in self.costs.items()
        }
        return replace(self, costs=costs)

    def values(self, genotypes: IntArray) -> FloatArray:
        """The cost objectives of `(n, choices)` genotypes, `(n, objectives)`."""
        return np.stack([self.costs[name](genotypes) for name in self.objectives], axis=1)

    def violation(self, genotypes: IntArray) -> FloatArray:
        """The summed relative excess over all limits, `(n,)`; 0 if feasible, else positive."""
        return self.assess(genotypes)[1]

    def assess(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The results of `values` and `violation`, with each cost computed only once."""
        known = {name: self.costs[name](genotypes) for name in {*self.objectives, *self.limits}}
        values = np.stack([known[name] for name in self.objectives], axis=1)
        excess = np.zeros(len(genotypes))
        for name, limit in self.limits.items():
            excess += np.maximum(known[name] / limit - 1.0, 0.0)
        return values, np.where(np.isfinite(values).all(axis=1), excess, np.inf)


def within_device(
    asked: Mapping[str, float], held: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, str]]:
    """The smaller of the limits asked for and of the device's, and notes on the device's limits.

    Args:
        asked: The limits that a user gives, by name of the cost.
        held: The limits of the device's memory, by name of the cost.
    """
    limits, origins = dict(asked), dict[str, str]()
    for name, most in held.items():
        limits[name] = min(most, asked.get(name, most))
        allowed = f", {asked[name]:g} is asked for" if name in asked else ""
        origins[name] = f"the device has {most:,.0f} bytes of {MEMORIES[name]}{allowed}"
    return limits, origins


@dataclass(frozen=True, eq=False)
class Problem:
    """A space, the metric to measure in this space, and the goals that share the measurements."""

    space: SearchSpace
    goals: tuple[Goal, ...]
    metric: str = "error"

    def __post_init__(self) -> None:
        names = [goal.name for goal in self.goals]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a problem needs goals of distinct names, given {names}")

    @property
    def computed(self) -> Problem:
        """The problem without `Measured` costs, see `Goal.computed`."""
        return replace(self, goals=tuple(goal.computed for goal in self.goals))
