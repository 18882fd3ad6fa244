"""Targets, objectives and limits of a search in Python, as a problem with one goal per device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.problem.feasibility import feasibility
from nas.problem.goals import ArrayCost, Goal, Measured, Problem
from nas.report.data import Provenance
from nas.run.target_costs import TargetCosts
from nas.targets import HardwareTarget, legal, load_target
from nas.targets.device_costs import DeviceCosts
from nas.targets.saturation import EightBitWeights
from search_spaces.space import IntArray, SearchSpace

Target = HardwareTarget | Goal | str | Path
NO_COST = "no cost"
_ANY = "any device"
_COUNTED = ("macs", "bitops", "model_bytes")


@dataclass(frozen=True, eq=False)
class Asked:
    """What a search is asked for.

    Attributes:
        problem: The space, without options that no target runs, and one goal per device.
        origins: The origin of the costs on each device, by the name of the goal.
        weights: The type of 8-bit weights in files for each device, by its name.
    """

    problem: Problem
    origins: Mapping[str, Provenance]
    weights: Mapping[str, EightBitWeights] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of the costs that only an evaluation tells."""
        costs = [cost for goal in self.problem.goals for cost in goal.costs.values()]
        return tuple(dict.fromkeys(c.metric for c in costs if isinstance(c, Measured)))


def several(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names that are given alone or as a sequence."""
    return (names,) if isinstance(names, str) else tuple(names)


def asked_for(
    space: SearchSpace,
    targets: Target | Sequence[Target],
    *,
    objectives: Sequence[str],
    limits: Mapping[str, float],
    seed: int,
) -> Asked:
    """The problem of a search.

    Args:
        space: The space.
        targets: Devices by name, by file or as objects, and goals made by hand; none to minimise
            costs that no device decides about, or the metric alone.
        objectives: The costs to minimise beside the metric, for all targets that are no goals.
        limits: Upper limits of costs, for the same targets.
        seed: The seed of the networks by which limits are tried.

    Raises:
        TargetError: A target cannot be read, lacks figures, or runs no network of the space.
        ConstraintError: No network is within the limits.
        ValueError: Something else does not fit together.
    """
    given = [targets] if isinstance(targets, Target) else list(targets)
    made = [load_target(str(one)) if isinstance(one, str | Path) else one for one in given]
    if odd := [one for one in made if not isinstance(one, HardwareTarget | Goal)]:
        raise ValueError(
            f"a target is a name, the path of a file, a HardwareTarget or a Goal, given {odd[0]!r}"
        )
    devices = [one for one in made if isinstance(one, HardwareTarget)]
    if made and not devices and (objectives or limits):
        raise ValueError(
            "every target is a Goal, which has its own objectives and limits; leave out the "
            f"objectives {list(objectives)} and limits {dict(limits)}"
        )
    allowed = legal(space, devices) if devices else space
    if allowed != space and len(devices) < len(made):
        raise ValueError(
            f"{', '.join(one.name for one in devices)} cannot run all options of space "
            f"{space.name!r}, for which a Goal was made; make the space and the goal with "
            "space = nas.targets.legal(space, [target])"
        )
    costs = TargetCosts(allowed)
    goals = [
        one if isinstance(one, Goal) else _goal(one, costs, objectives, limits) for one in made
    ]
    if not made:
        goals = [_without_device(costs, objectives, limits)]
    for goal in goals:
        _require_feasible(goal, allowed, seed)
    origins = {goal.name: _origin(one) for goal, one in zip(goals, made or goals, strict=True)}
    return Asked(Problem(allowed, tuple(goals)), origins, _weights(devices))


def on_targets(
    space: SearchSpace,
    targets: Target | Sequence[Target],
    *,
    objectives: Sequence[str],
    limits: Mapping[str, float],
) -> Asked:
    """The problem of choosing among networks of a space that stays as it is.

    Unlike in `asked_for`, a network that a device refuses stays in the space, at infinite cost.

    Args:
        space: The space.
        targets: Devices by name, by file or as objects.
        objectives: The costs to minimise.
        limits: Upper limits of costs.

    Raises:
        TargetError: A target cannot be read, or lacks figures.
        ValueError: A target is no device, or has no such cost.
    """
    given = [targets] if isinstance(targets, Target) else list(targets)
    made = [load_target(str(one)) if isinstance(one, str | Path) else one for one in given]
    if odd := [one for one in made if not isinstance(one, HardwareTarget)]:
        raise ValueError(f"a target is a name, a file or a HardwareTarget, given {odd[0]!r}")
    devices = [one for one in made if isinstance(one, HardwareTarget)]
    costs = TargetCosts(space)
    goals = [_goal(one, costs, objectives, limits) for one in devices]
    origins = {one.name: _origin(one) for one in devices}
    return Asked(Problem(space, tuple(goals)), origins, _weights(devices))


def _weights(devices: Sequence[HardwareTarget]) -> dict[str, EightBitWeights]:
    return {one.name: one.eight_bit_weights for one in devices}


def _origin(target: HardwareTarget | Goal) -> Provenance:
    """Where the costs of a target come from; those of a goal made by hand, as far as it is seen."""
    if isinstance(target, HardwareTarget):
        return Provenance(target.provenance, target.device, target.runtime)
    first = target.objectives[0]
    if isinstance(target.costs[first], Measured):
        return Provenance("measured", "the objective")
    if first in _COUNTED and not isinstance(target.costs, DeviceCosts):
        return Provenance("counted", target.name)
    return Provenance("imported", target.name)


def _goal(
    target: HardwareTarget,
    costs: TargetCosts,
    objectives: Sequence[str],
    limits: Mapping[str, float],
) -> Goal:
    known = costs.on(target)
    wanted = tuple(objectives) or ("latency_ms",)
    every = {**known, **_measured([*wanted, *limits], known)}
    return Goal(target.name, DeviceCosts(every, target.limits), wanted, limits)


def _without_device(
    costs: TargetCosts, objectives: Sequence[str], limits: Mapping[str, float]
) -> Goal:
    """A goal of costs that are counted or measured, or of the metric alone."""
    named = {*objectives, *limits}
    known: dict[str, ArrayCost] = {}
    if named & {*_COUNTED}:
        known = {name: costs.shared[name] for name in _COUNTED}
    if not objectives:
        known[NO_COST] = _nothing
    every = {**known, **_measured([*objectives, *limits], known)}
    return Goal(_ANY, every, tuple(objectives) or (NO_COST,), limits)


def _measured(names: Sequence[str], known: Mapping[str, ArrayCost]) -> dict[str, ArrayCost]:
    return {name: Measured(name) for name in names if name not in known}


def _nothing(genotypes: IntArray) -> NDArray[np.float64]:
    """The cost of a network where only the metric counts: 0."""
    return np.zeros(len(genotypes))


def _require_feasible(goal: Goal, space: SearchSpace, seed: int) -> None:
    if all(isinstance(goal.costs[name], Measured) for name in goal.objectives):
        return
    known = goal.computed
    if known.limits:
        feasibility(known, space, rng=np.random.default_rng(seed))
