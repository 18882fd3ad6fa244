"""Policies of a user's own network in a report: the uniform ones, and sentences on the choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from nas.evaluation.measurements import Measurements
from nas.own.choosing import Picked
from nas.own.structure import changes
from nas.own.tuned import making
from nas.problem.goals import Goal
from nas.report import text
from nas.report.subnets import Reference
from search_spaces.space import Genotype, SearchSpace


def uniform_references(
    goal: Goal, measured: Measurements, names: Mapping[Genotype, str]
) -> tuple[Reference, ...]:
    """The uniform policies on a target, each with what the target has against it."""
    known = goal.answered(measured).costs
    found: list[Reference] = []
    for one in measured.evaluations:
        if one.genotype not in names:
            continue
        costs = {name: float(cost(np.array([one.genotype]))[0]) for name, cost in known.items()}
        interval, against = one.answers and one.answers.interval, objection(goal, costs)
        name = f"uniform {names[one.genotype]}"
        found.append(Reference(name, one.error, costs, interval, against))
    return tuple(found)


def objection(goal: Goal, costs: Mapping[str, float]) -> str:
    """The reason why a device cannot take a network of these costs; empty where it can."""
    if not np.isfinite([*costs.values()]).all():
        return "the device cannot run its formats"
    over = (
        f"{text.title(name)} {text.quantity(name, costs[name])}, at most "
        f"{text.quantity(name, limit)}{_origin(goal, name)}"
        for name, limit in goal.limits.items()
        if costs[name] > limit
    )
    return "; ".join(over)


def _origin(goal: Goal, name: str) -> str:
    return f" ({goal.origins[name]})" if name in goal.origins else ""


def about_choice(
    pick: Picked,
    space: SearchSpace,
    names: Mapping[Genotype, str],
    *,
    made: Mapping[str, str],
    samples: Mapping[str, int],
) -> Iterator[str]:
    """Sentences on the returned policy, and on the samples by which it was found.

    Args:
        pick: The policy.
        space: The space of the policies.
        names: The names of uniform policies.
        made: Which weights it was made from, see `made_from`.
        samples: The numbers of samples that calibrate, that guide the search, and that judge.
    """
    yield pick.verdict
    yield making(made)
    if told := changes(space, pick.evaluation.genotype):
        yield told
    calibrating, seen, unseen = samples.values()
    yield (
        f"{calibrating} samples calibrated the networks, {seen} others guided the search, and "
        f"{unseen} others, which neither had seen, judged in the end."
    )
    if pick.latency_ms:
        ordered = sorted(pick.latency_ms.items(), key=lambda item: item[1])
        told = (f"{names.get(one, 'a mixed policy')} {spent:.3g} ms" for one, spent in ordered)
        yield f"Whole networks, timed beside each other: {', '.join(told)}."
