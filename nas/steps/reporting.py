"""Putting together what a run found: results.json, a Pareto table per target, report.html."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from nas.evaluate import Evaluation
from nas.objectives import Goal
from nas.plan import Plan, cost_ranges
from nas.report.data import (
    Estimate,
    Figure,
    FrontPoint,
    HypervolumePoint,
    LatencyBand,
    Point,
    PredictedPoint,
    Provenance,
    ProxyRank,
    Results,
    SpaceSummary,
    TargetResult,
)
from nas.report.html import render
from nas.report.store import save
from nas.report.tables import write_front_csv
from nas.search.front import hypervolume, measured_front, nondominated
from nas.search.inner import Effort, evolve
from nas.steps.exporting import Shipped, checked_costs
from nas.steps.probing import Probe, probed
from nas.steps.references import Yardstick, yardsticks
from nas.steps.searching import predictor_of
from nas.steps.shipping import described
from nas.steps.training import training_summary
from nas.targets import HardwareTarget
from nas.targets.calibration import calibration_of
from predictors.base import Predictor
from predictors.proxies.ranking import LARGER_IS_BETTER, proxy_report
from search_spaces.space import IntArray
from supernets.supernet import Supernet

_PACKAGES = ("elastic-nas", "torch", "onnxruntime", "onnx", "numpy", "pymoo", "optuna")
FloatArray = NDArray[np.float64]


def reported(
    plan: Plan,
    supernet: Supernet,
    evaluations: Sequence[Evaluation],
    shipped: Mapping[str, Shipped],
) -> Results:
    """The results of a run, written to its folder with tables and report."""
    probe = probed(plan, supernet) if plan.recipe.search.proxies else None
    results = _results(plan, supernet, evaluations, shipped, probe)
    save(results, plan.files.results)
    for target in results.targets:
        write_front_csv(target, plan.files.front(target.name))
    render(results, plan.files.report)
    return results


def _results(
    plan: Plan,
    supernet: Supernet,
    evaluations: Sequence[Evaluation],
    shipped: Mapping[str, Shipped],
    probe: Probe | None,
) -> Results:
    predictor = predictor_of(plan, probe)
    points = _points(plan, evaluations, predictor)
    rows = np.array([e.genotype for e in evaluations], dtype=np.int64)
    errors = np.array([e.metrics["error"] for e in evaluations])
    predictor.fit(rows, errors)
    compared = yardsticks(plan, supernet)
    made = Measured(plan, evaluations, predictor)
    targets: list[TargetResult] = []
    for target, goal in zip(plan.targets, plan.problem.goals, strict=True):
        found = made.target(target, goal, compared, shipped.get(target.name), points)
        front = measured_front(goal, evaluations)
        checks = checked_costs(plan, supernet, target.name, front)
        targets.append(replace(found, cost_checks=checks))
    sizes = plan.task.sizes()
    return Results(
        run=plan.recipe.name,
        seed=plan.recipe.seed,
        space=SpaceSummary(
            plan.space.name, len(plan.space.choices), str(plan.space.size), cost_ranges(plan)
        ),
        task=f"{plan.task.name}: {', '.join(f'{n} {split}' for split, n in sizes.items())} images",
        recipe=plan.recipe.model_dump(mode="json"),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        budget=plan.recipe.search.budget,
        training=training_summary(plan),
        evaluated=tuple(points),
        targets=tuple(targets),
        proxies={} if probe is None else _proxies(probe, rows, errors),
        figures=tuple(
            Figure(f"{target.name}: source of its figures", target.provenance, target.source)
            for target in plan.targets
            if target.source
        ),
    )


def versions() -> dict[str, str]:
    """Software and platform of this process."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found, "platform": platform.platform()}


def _points(plan: Plan, evaluations: Sequence[Evaluation], predictor: Predictor) -> list[Point]:
    """Every evaluation, with its error as predicted from those of the batches before it."""
    rows = np.array([e.genotype for e in evaluations], dtype=np.int64)
    errors = np.array([e.metrics["error"] for e in evaluations])
    batch = plan.recipe.search.batch
    points: list[Point] = []
    for start in range(0, len(rows), batch):
        guesses: list[Estimate | None] = [None] * batch
        if start >= 2 * batch:
            predictor.fit(rows[:start], errors[:start])
            mean, std = predictor.predict(rows[start : start + batch])
            guesses = [Estimate(float(m), float(s)) for m, s in zip(mean, std, strict=True)]
        for order, evaluation in enumerate(evaluations[start : start + batch], start=start):
            guess = guesses[order - start]
            points.append(Point(evaluation.genotype, order, evaluation.metrics, guess))
    return points


def _proxies(probe: Probe, rows: IntArray, errors: FloatArray) -> dict[str, ProxyRank]:
    """How the probed subnets that were evaluated too rank under each proxy."""
    error_of = {tuple(row): error for row, error in zip(rows.tolist(), errors, strict=True)}
    both = [i for i, row in enumerate(probe.genotypes.tolist()) if tuple(row) in error_of]
    if len(both) < 2:
        return {}
    measured = np.array([error_of[tuple(row)] for row in probe.genotypes[both].tolist()])
    taus = proxy_report({name: values[both] for name, values in probe.scores.items()}, measured)
    return {
        name: ProxyRank("higher" if LARGER_IS_BETTER[name] else "lower", tau, len(both))
        for name, tau in taus.items()
    }


def latency_band(target: HardwareTarget) -> LatencyBand | None:
    """How good the target's predicted latencies are, where it is calibrated."""
    calibration = calibration_of(target)
    return calibration and LatencyBand(**asdict(calibration.error))


class Measured:
    """The evaluations of a run, seen from one target after the other."""

    def __init__(self, plan: Plan, evaluations: Sequence[Evaluation], predictor: Predictor) -> None:
        self._plan = plan
        self._evaluations = evaluations
        self._rows = np.array([e.genotype for e in evaluations], dtype=np.int64)
        self._errors = np.array([e.metrics["error"] for e in evaluations])
        self._predictor = predictor

    def target(
        self,
        target: HardwareTarget,
        goal: Goal,
        compared: Sequence[Yardstick],
        shipped: Shipped | None,
        points: Sequence[Point],
    ) -> TargetResult:
        """What the run found for one device."""
        known = {name: cost(self._rows) for name, cost in goal.costs.items()}
        reference, growth = self._hypervolume(goal)
        on_target = (yardstick.on(target) for yardstick in compared)
        band = latency_band(target)
        notes = () if shipped else ("No evaluated subnet is within the limits.",)
        return TargetResult(
            name=target.name,
            provenance=Provenance(target.provenance, target.device, target.runtime),
            objectives=goal.objectives,
            limits=goal.limits,
            costs={name: tuple(values.tolist()) for name, values in known.items()},
            front=self._front(goal),
            predicted_front=self._predicted_front(goal),
            references=tuple(found for found in on_target if found is not None),
            reference_point=reference,
            hypervolume=growth,
            chosen=shipped and described(self._plan, goal, shipped, points, band=band),
            latency_band=band,
            notes=notes,
        )

    def _front(self, goal: Goal) -> tuple[FrontPoint, ...]:
        """The measured front within the limits, cheapest first."""
        return tuple(
            FrontPoint(
                found.genotype,
                found.metrics["error"],
                {n: float(cost(np.array([found.genotype]))[0]) for n, cost in goal.costs.items()},
                self._plan.space.describe(found.genotype),
            )
            for found in measured_front(goal, self._evaluations)
        )

    def _predicted_front(self, goal: Goal) -> tuple[PredictedPoint, ...]:
        """The front over the whole space, by predicted error, cheapest first."""
        rng = np.random.default_rng(self._plan.recipe.seed)
        seeds = self._rows[goal.violation(self._rows) == 0]
        rows, scores = evolve(
            self._plan.space,
            goal,
            lambda rows: self._predictor.predict(rows)[0],
            seeds=seeds,
            effort=Effort(),
            rng=rng,
        )
        rows = rows[nondominated(scores)]
        rows = rows[goal.violation(rows) == 0]
        mean, std = self._predictor.predict(rows)
        known = {name: cost(rows) for name, cost in goal.costs.items()}
        order = np.argsort(known[goal.objectives[0]], kind="stable")
        return tuple(
            PredictedPoint(
                {name: float(values[i]) for name, values in known.items()},
                float(mean[i]),
                float(std[i]),
            )
            for i in order
        )

    def _hypervolume(self, goal: Goal) -> tuple[dict[str, float], tuple[HypervolumePoint, ...]]:
        """The reference point, and the dominated share of its box after every evaluation.

        The reference is the 75 % quantile of the errors and the dearest evaluated cost; infeasible
        subnets dominate nothing.
        """
        points = np.column_stack([self._errors, goal.values(self._rows)])
        feasible = goal.violation(self._rows) == 0
        if not feasible.any():
            return {}, ()
        worst = points[feasible].max(axis=0)
        worst[0] = np.quantile(self._errors[feasible], 0.75)
        best = np.concatenate([[0.0], points[feasible][:, 1:].min(axis=0)])
        box = float(np.prod(worst - best)) or 1.0
        growth = tuple(
            HypervolumePoint(count, hypervolume(points[:count][feasible[:count]], worst) / box)
            for count in range(1, len(points) + 1)
        )
        return dict(zip(("error", *goal.objectives), worst.tolist(), strict=True)), growth
