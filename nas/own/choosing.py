"""The policy that a device gets: as good as asked for, and never one that a uniform dominates.

Networks are compared by figures of samples that the search did not see. Where a cheaper or equally
cheap uniform policy is as good, it is returned: a mixed policy has to earn its place. Of networks
that the samples cannot tell apart from the best one within limits, the cheapest is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.facts.noise import Losses
from nas.own.model import listed
from nas.own.uniform import FLOAT, USUAL
from nas.problem.front import measured_front
from nas.problem.goals import Goal
from search_spaces.space import Genotype

FloatArray = NDArray[np.float64]
Timed = Callable[[Sequence[Genotype]], Sequence[float]]
"""A function that measures the latency of whole networks in ms."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of the returned network.

    Attributes:
        limits: Name of a cost -> its upper limit, without the limits of devices.
        allowed_drop: How much worse than the float network it may be, in the unit of the figure;
            None for as good as possible within the limits or, without any, as good as `USUAL`.

    Raises:
        ValueError: The allowed drop is below 0, or NaN.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    allowed_drop: float | None = None

    def __post_init__(self) -> None:
        if self.allowed_drop is not None and not self.allowed_drop >= 0:
            raise ValueError(
                f"allowed_drop is how much worse than your network the answer may be, given "
                f"{self.allowed_drop}; give 0 or more, in the unit of the figure"
            )


@dataclass(frozen=True, eq=False)
class Candidates:
    """Networks to choose from, with their figures on one device; `n` of them.

    Attributes:
        genotypes: The networks.
        losses: Figures by which they are judged, each smaller for a better network, `(n, losses)`,
            the one by which they are asked for first.
        costs: The costs that are minimised, `(n, objectives)`, the first one first.
        uniform: Whether each has a uniform policy, `(n,)`.
        within: Whether each is within the limits of the device, `(n,)`.
        noise: The share by which the first cost of equal networks may differ, as measurements do.
        answers: The loss of each network on each of some samples, or None where unknown.
        alike: The difference of each loss up to which networks give the same answers, `(losses,)`.
    """

    genotypes: Sequence[Genotype]
    losses: FloatArray
    costs: FloatArray
    uniform: NDArray[np.bool_]
    within: NDArray[np.bool_]
    noise: float = 0.0
    answers: Sequence[Losses | None] = ()
    alike: Sequence[float] = (0.0,)

    def equal(self, one: int, best: int) -> bool:
        """Whether nothing but chance sets a network apart from the best one, by every loss.

        Losses may differ by `alike`, or by one standard error of the difference on the same
        samples where answers are known, as in the one-standard-error rule of Breiman et al. (1984),
        section 3.4.3.
        """
        chance = np.maximum(self.alike, self._error(one, best))
        return bool((self.losses[one] <= self.losses[best] + chance).all())

    def _error(self, one: int, other: int) -> float:
        """The standard error of the difference of two networks; 0 where answers are unknown."""
        losses = [self.answers[place] for place in (one, other)] if self.answers else []
        known = [each for each in losses if each is not None]
        shown = min(map(len, known), default=0)
        if len(known) < len(losses) or shown < 2:
            return 0.0
        apart = known[0][:shown] - known[1][:shown]
        return float(apart.std(ddof=1)) / math.sqrt(shown)

    @property
    def dominated(self) -> NDArray[np.bool_]:
        """Whether a uniform policy takes the place of each network, `(n,)`.

        A mixed policy keeps its place only if it is better by every figure than each uniform policy
        that costs no more, or more by no more than the noise. A uniform policy loses its place to
        one that costs less and is as good.
        """
        rivals = np.flatnonzero(self.uniform & self.within)
        found = np.zeros(len(self.genotypes), np.bool_)
        for place in range(len(found)):
            for rival in rivals[rivals != place]:
                margin = np.zeros(self.costs.shape[1])
                margin[0] = 0.0 if self.uniform[place] else self.noise
                cheap = self.costs[rival] <= self.costs[place] * (1 + margin)
                good = self.losses[rival] <= self.losses[place]
                if self.uniform[place]:
                    less = (self.costs[rival] < self.costs[place]).any()
                    better = (self.losses[rival] < self.losses[place]).any()
                    found[place] |= bool(cheap.all() and good.all() and (less or better))
                else:
                    found[place] |= bool(cheap.all() and good.any())
        return found


def chosen(candidates: Candidates, *, most_loss: float | None, prefer_cheap: bool) -> int | None:
    """The position of the network to return; None if none is allowed.

    Args:
        candidates: The networks.
        most_loss: The largest first loss that is allowed; None allows any.
        prefer_cheap: Whether the cheapest of the allowed networks is returned. Else it is the best,
            or the cheapest of those that only chance sets apart from the best.
    """
    allowed = candidates.within & ~candidates.dominated
    if most_loss is not None:
        allowed &= candidates.losses[:, 0] <= most_loss
    losses, costs = candidates.losses, candidates.costs
    places: list[int] = np.flatnonzero(allowed).tolist()

    def cheap(place: int) -> tuple[float, ...]:
        return *costs[place], *losses[place]

    if prefer_cheap or not places:
        return min(places, key=cheap, default=None)
    best = min(places, key=lambda place: (*losses[place], *costs[place]))
    equal = [place for place in places if candidates.equal(place, best)]
    cheapest = min(equal, key=cheap)
    most = costs[cheapest] * (1 + np.array([candidates.noise] + [0.0] * (costs.shape[1] - 1)))
    simple = [
        place for place in equal if candidates.uniform[place] and (costs[place] <= most).all()
    ]
    return min(simple, key=cheap, default=cheapest)


@dataclass(frozen=True, eq=False)
class Picked:
    """The policy that a device gets.

    Attributes:
        evaluation: Its evaluation.
        name: The name of a uniform policy, or `MIXED`.
        verdict: A sentence on the policy beside the uniform ones.
        latency_ms: The measured latencies of the whole networks that were compared, this one among
            them; empty where nothing was measured.
    """

    evaluation: Evaluation
    name: str
    verdict: str
    latency_ms: Mapping[Genotype, float] = field(default_factory=dict)


MIXED = "mixed"
_NOISE = 0.03  # between two measurements of one file on an idle machine


def picked(
    goal: Goal,
    measured: Measurements,
    *,
    names: Mapping[Genotype, str],
    by: Sequence[str],
    wanted: Wanted,
    alike: Sequence[float] = (0.0,),
    timed: Timed | None = None,
) -> Picked | None:
    """The policy for a device; None if none is within the limits and good enough.

    Where whole networks can be measured, uniform policies are, and so is whatever is about to be
    returned: what is measured counts instead of what was predicted, until the one to be returned is
    itself measured.

    Args:
        goal: The costs on the device, with its limits.
        measured: All evaluated policies.
        names: The names of uniform policies.
        by: The metrics by which networks are judged, the decisive one first.
        wanted: What is asked for.
        alike: The difference of each of these up to which networks give the same answers.
        timed: Measures whole networks in ms, where the first cost is this latency.
    """
    evaluations, candidates = candidates_of(goal, measured, names=names, by=by)
    candidates = replace(candidates, alike=alike, noise=0.0 if timed is None else _NOISE)
    most, cheap = _asked(candidates, names, wanted)
    known: dict[Genotype, float] = {}
    while (place := chosen(candidates, most_loss=most, prefer_cheap=cheap)) is not None:
        genotype = candidates.genotypes[place]
        if timed is None or genotype in known:
            said = verdict(candidates, place, names, cost=goal.objectives[0])
            return Picked(evaluations[place], names.get(genotype, MIXED), said, known)
        ready = candidates.uniform & candidates.within
        rivals = (
            [] if known else [candidates.genotypes[one] for one in np.flatnonzero(ready).tolist()]
        )
        asked = [*dict.fromkeys([*rivals, genotype])]
        known |= dict(zip(asked, timed(asked), strict=True))
        costs, within = candidates.costs.copy(), candidates.within.copy()
        for one, spent in known.items():
            at = candidates.genotypes.index(one)
            costs[at, 0] = spent
            within[at] &= spent <= goal.limits.get(goal.objectives[0], np.inf)
        candidates = replace(candidates, costs=costs, within=within)
    return None


def candidates_of(
    goal: Goal, measured: Measurements, *, names: Mapping[Genotype, str], by: Sequence[str]
) -> tuple[list[Evaluation], Candidates]:
    """The front of a search and all uniform policies, with their figures on a device."""
    known = {one.genotype: one for one in measured.evaluations}
    front = measured_front(goal, measured)
    genotypes = dict.fromkeys([*(one.genotype for one in front), *names])
    evaluations = [known[one] for one in genotypes if one in known]
    rows = np.array([one.genotype for one in evaluations])
    answered = goal.answered(measured)
    costs = answered.values(rows)
    return evaluations, Candidates(
        [one.genotype for one in evaluations],
        np.array([[one.metrics[name] for name in by] for one in evaluations]),
        costs,
        np.array([one.genotype in names for one in evaluations]),
        (answered.violation(rows) == 0) & np.isfinite(costs).all(axis=1),
        answers=[one.answers and one.answers.losses for one in evaluations],
    )


def _asked(
    candidates: Candidates, names: Mapping[Genotype, str], wanted: Wanted
) -> tuple[float | None, bool]:
    """The largest loss that is allowed, and whether cheaper is then better."""
    losses = {
        names[genotype]: float(loss)
        for genotype, loss in zip(candidates.genotypes, candidates.losses[:, 0], strict=True)
        if genotype in names
    }
    if wanted.allowed_drop is not None:
        return losses.get(FLOAT, 0.0) + wanted.allowed_drop, True
    if wanted.limits:
        return None, False
    return losses.get(USUAL, losses.get(FLOAT)), True


def verdict(candidates: Candidates, place: int, names: Mapping[Genotype, str], *, cost: str) -> str:
    """A sentence on the returned network beside the uniform policies.

    Args:
        candidates: The networks.
        place: The position of the returned one.
        names: The names of uniform policies.
        cost: The name of the first cost, such as `latency_ms`.
    """
    faster, less = ("faster", "less latency") if "latency" in cost else ("cheaper", f"less {cost}")
    mine = float(candidates.costs[place, 0])
    rivals: list[int] = np.flatnonzero(candidates.uniform & candidates.within).tolist()
    name = names.get(candidates.genotypes[place])
    if name is not None:
        told = f"The uniform policy {name} is returned: nothing is {faster} and good enough"
        below = [names[candidates.genotypes[r]] for r in rivals if candidates.costs[r, 0] < mine]
        return f"{told}; {faster} but worse: {listed(below)}." if below else f"{told}."
    as_good = [r for r in rivals if candidates.losses[r, 0] <= candidates.losses[place, 0]]
    if not as_good:
        return "A mixed policy is returned: it is better than every uniform one within the limits."
    nearest = min(as_good, key=lambda one: candidates.costs[one, 0])
    other = names[candidates.genotypes[nearest]]
    saved = 1 - mine / float(candidates.costs[nearest, 0])
    return (
        f"A mixed policy is returned: {saved:.0%} {less} than {other}, the cheapest uniform policy "
        "that is as good."
    )
