"""The results of a search on each device, from one set of evaluations."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.measurements import Measurements
from nas.problem.front import hypervolume, measured_front, nondominated
from nas.problem.goals import Goal, Problem
from nas.report.data import HypervolumePoint, Provenance, TargetResult
from nas.report.estimates import Estimate
from nas.report.subnets import FrontPoint, Point, PredictedPoint
from nas.search.guided import default_predictor
from nas.search.inner import Effort, evolve
from nas.search.learned_cost import with_learned_costs
from predictors.calibrated import Calibrated
from predictors.predictor import Predictor
from search_spaces.space import SearchSpace

FloatArray = NDArray[np.float64]
_MORE = 1.25
NONE_WITHIN = "No evaluated subnet is within the limits."


def report_predictor(problem: Problem) -> Predictor:
    """The predictor of errors for a report, whose intervals hold what they say."""
    return Calibrated(problem.space, default_predictor(problem))


def fits(count: int, batch: int) -> list[int]:
    """The numbers of evaluations after which the predictor of a report is fitted, ascending.

    Two batches come first, then always a quarter more.

    Args:
        count: The number of all evaluations.
        batch: The number of evaluations of a batch.
    """
    found: list[int] = []
    for start in range(2 * batch, count, batch):
        if not found or start >= _MORE * found[-1]:
            found.append(start)
    return found


def points_of(measured: Measurements, predictor: Predictor, *, batch: int) -> tuple[Point, ...]:
    """Every evaluation, with its error as predicted from the evaluations of earlier batches.

    The predictor is fitted again whenever a quarter more is measured, see `fits`.
    """
    points: list[Point] = []
    fitted = fits(len(measured), batch)
    for start in range(0, len(measured), batch):
        guesses: list[Estimate | None] = [None] * batch
        before, latest = measured[:start], measured[start : start + batch]
        if start in fitted:
            predictor.fit(before.rows, before.losses)
        if fitted and start >= fitted[0]:
            mean, std = predictor.predict(latest.rows)
            guesses = [Estimate(float(m), float(s)) for m, s in zip(mean, std, strict=True)]
        for order, evaluation in enumerate(latest.evaluations, start=start):
            guess = guesses[order - start]
            point = Point(evaluation.genotype, order, evaluation.metrics, guess)
            points.append(replace(point, stopped=not evaluation.complete))
    return tuple(points)


class Findings:
    """The evaluations of a search, from which the results on each device are computed.

    Args:
        space: The space that was searched.
        measured: All evaluations of the search.
        predictor: The predictor of errors; it is fitted to all evaluations.
        seed: The seed of the search over predictions.
    """

    def __init__(
        self,
        space: SearchSpace,
        measured: Measurements,
        predictor: Predictor,
        *,
        seed: int,
    ) -> None:
        predictor.fit(measured.rows, measured.losses)
        self.measured = measured
        self._space = space
        self._predictor = predictor
        self._seed = seed

    def on(self, goal: Goal, provenance: Provenance) -> TargetResult:
        """The fronts and the hypervolume on one device, without a chosen subnet yet."""
        predicted = self._predicted_front(goal)
        goal = goal.answered(self.measured)
        known = {name: cost(self.measured.rows) for name, cost in goal.costs.items()}
        reference, growth = self._hypervolume(goal)
        return TargetResult(
            name=goal.name,
            provenance=provenance,
            objectives=goal.objectives,
            limits=goal.limits,
            costs={name: tuple(values.tolist()) for name, values in known.items()},
            front=self._front(goal),
            predicted_front=predicted,
            reference_point=reference,
            hypervolume=growth,
            notes=self._stopped(),
        )

    def _stopped(self) -> tuple[str, ...]:
        """A note on evaluations that were stopped early, if there are any."""
        stopped, count = int((~self.measured.complete).sum()), len(self.measured)
        told = (
            f"{stopped} of {count} evaluations were stopped early: their errors are estimates, "
            "and they are on no front."
        )
        return (told,) if stopped else ()

    def _front(self, goal: Goal) -> tuple[FrontPoint, ...]:
        """The measured front within the limits, cheapest first."""
        front = measured_front(goal, self.measured)
        ranked = sorted(front, key=lambda found: found.error)
        chances = {
            better.genotype: better.answers.chance_of_equals(worse.answers)
            for better, worse in pairwise(ranked)
            if better.answers is not None and worse.answers is not None
        }
        return tuple(
            FrontPoint(
                found.genotype,
                found.error,
                {n: float(cost(np.array([found.genotype]))[0]) for n, cost in goal.costs.items()},
                self._space.describe(found.genotype),
                found.answers and found.answers.interval,
                chances.get(found.genotype),
            )
            for found in front
        )

    def _predicted_front(self, goal: Goal) -> tuple[PredictedPoint, ...]:
        """The front over the whole space, by predicted error, cheapest first."""
        (goal,), learned = with_learned_costs([goal], self._space)
        for cost in learned.values():
            cost.fit(self.measured)
        rng = np.random.default_rng(self._seed)
        known = self.measured.rows
        seeds = known[goal.violation(known) == 0]
        rows, scores = evolve(
            self._space,
            goal,
            lambda rows: self._predictor.predict(rows)[0],
            seeds=seeds,
            effort=Effort(),
            rng=rng,
        )
        rows = rows[nondominated(scores)]
        rows = rows[goal.violation(rows) == 0]
        mean, std = self._predictor.predict(rows)
        costs = {name: cost(rows) for name, cost in goal.costs.items()}
        order = np.argsort(costs[goal.objectives[0]], kind="stable")
        return tuple(
            PredictedPoint(
                {name: float(values[i]) for name, values in costs.items()},
                float(mean[i]),
                float(std[i]),
            )
            for i in order
        )

    def _hypervolume(self, goal: Goal) -> tuple[dict[str, float], tuple[HypervolumePoint, ...]]:
        """The reference point, and the dominated share of its box after every evaluation.

        The reference is the 75 % quantile of the errors and the largest evaluated cost. Subnets
        that are infeasible or were stopped early dominate nothing.
        """
        measured = self.measured
        points = np.column_stack([measured.losses, goal.values(measured.rows)])
        feasible = measured.complete & (goal.violation(measured.rows) == 0)
        if not feasible.any():
            return {}, ()
        worst = points[feasible].max(axis=0)
        worst[0] = np.quantile(measured.losses[feasible], 0.75)
        best = np.concatenate([[0.0], points[feasible][:, 1:].min(axis=0)])
        box = float(np.prod(worst - best)) or 1.0
        growth = tuple(
            HypervolumePoint(count, hypervolume(points[:count][feasible[:count]], worst) / box)
            for count in range(1, len(points) + 1)
        )
        return dict(zip(("error", *goal.objectives), worst.tolist(), strict=True)), growth
