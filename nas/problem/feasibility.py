"""Feasibility of a goal's limits, found before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.problem.goals import Goal
from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]
SAMPLES = 2000
_SMALLER = "smaller options in the space"


class ConstraintError(ValueError):
    """A limit that no subnet meets; the message names the smallest cost that can be reached."""


@dataclass(frozen=True)
class Feasibility:
    """A measure of how hard the limits of a goal are to meet.

    Attributes:
        share: The share of random subnets that meet all limits.
        least: Cost name -> the smallest value found, for every cost that has a limit.
    """

    share: float
    least: Mapping[str, float]


def feasibility(goal: Goal, space: SearchSpace, *, rng: np.random.Generator) -> Feasibility:
    """The feasibility of the limits of `goal` in `space`.

    Raises:
        ConstraintError: If a limit lies below what any subnet is found to reach, if no subnet is
            found to meet all limits at once, or if none can run at all.
    """
    sample = space.sample_array(rng, SAMPLES)
    lowest = {name: least(goal.costs[name], space, sample) for name in goal.limits}
    for name, limit in goal.limits.items():
        value, _ = lowest[name]
        if value > limit:
            raise ConstraintError(_unreachable(goal, space, name, value))
    violation, closest = least(goal.violation, space, sample)
    if violation > 0:
        raise ConstraintError(_unmet(goal, space, closest))
    return Feasibility(share_feasible(goal, sample), {name: v for name, (v, _) in lowest.items()})


def share_feasible(goal: Goal, genotypes: IntArray) -> float:
    """The share of `genotypes` `(n, choices)` that meet all limits of `goal`."""
    return float(np.mean(goal.violation(genotypes) == 0))


def least(
    cost: Callable[[IntArray], FloatArray], space: SearchSpace, sample: IntArray
) -> tuple[float, Genotype]:
    """The smallest cost found, and the genotype with this cost.

    The search begins with the best of `sample` and improves that genotype choice by choice.
    """
    pool = np.concatenate([np.array([space.smallest], dtype=sample.dtype), sample])
    values = cost(pool)
    best, value = pool[[values.argmin()]], float(values.min())
    while space.choices:
        near = space.canonical_array(_neighbours(best[0], space))
        values = cost(near)
        if not values.min() < value:
            break
        best, value = near[[values.argmin()]], float(values.min())
    return value, as_genotypes(best)[0]


def _neighbours(genotype: IntArray, space: SearchSpace) -> IntArray:
    """All genotypes that differ from `genotype` in one choice, and `genotype` itself."""
    columns = np.repeat(np.arange(len(space.counts)), space.counts)
    near = np.tile(genotype, (len(columns), 1))
    near[np.arange(len(columns)), columns] = np.concatenate([np.arange(n) for n in space.counts])
    return near


def _unreachable(goal: Goal, space: SearchSpace, name: str, value: float) -> str:
    origin, remedy = "", f"raise the limit to at least that, or offer {_SMALLER}"
    if name in goal.origins:
        origin = f" ({goal.origins[name]})"
        remedy = f"offer {_SMALLER}, or name a target with more memory"
    return (
        f"target {goal.name!r} limits {name} to {goal.limits[name]:g}{origin}, but no subnet of "
        f"space {space.name!r} is below {value:.6g}; {remedy}"
    )


def _unmet(goal: Goal, space: SearchSpace, closest: Genotype) -> str:
    row = np.array([closest])
    if not np.isfinite(goal.values(row)).all():
        return (
            f"target {goal.name!r} runs no subnet of space {space.name!r} that was tried; offer "
            "bits, granularities and symmetries that it supports"
        )
    reached = ", ".join(
        f"{name} {goal.costs[name](row)[0]:.4g} (limit {limit:g})"
        for name, limit in goal.limits.items()
    )
    return (
        f"target {goal.name!r} has limits that each can be met, but no subnet of space "
        f"{space.name!r} was found to meet them together; the closest has {reached}; raise one"
    )
