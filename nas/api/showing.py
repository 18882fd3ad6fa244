"""The figures and the report of a search in Python."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from nas.api.by_target import objective_of, of_target
from nas.api.evaluated import Evaluated
from nas.api.problem import NO_COST
from nas.evaluation.measurements import Measurements
from nas.problem.goals import Goal
from nas.report import style
from nas.report.data import Results, SpaceSummary, TableSummary, TargetResult
from nas.report.estimates import Comparison, Estimate
from nas.report.html import render
from nas.report.pareto import pareto
from nas.report.subnets import Chosen, Point
from nas.report.text import capital
from nas.report.words import Words
from nas.run.findings import NONE_WITHIN, Findings, points_of, report_predictor
from nas.run.steps.reporting import versions


def figure(study: Evaluated, goal: Goal, objective: str | None) -> go.Figure:
    """The front of a search against one cost, or its course if no cost is minimised.

    Raises:
        ValueError: Nothing is evaluated yet, or the goal has no such objective.
    """
    if goal.objectives == (NO_COST,):
        return _course(study)
    asked = objective_of(goal.name, goal.objectives, objective)
    results = results_of(study)
    return pareto(results, of_target(results.targets, goal.name), asked).figure


def report(study: Evaluated, path: Path) -> Path:
    """Write the report of a search to `path`.

    Raises:
        ValueError: Nothing is evaluated yet, or no cost is minimised.
        WriteError: The file cannot be written.
    """
    if any(goal.objectives == (NO_COST,) for goal in study.goals):
        raise ValueError(
            "a report shows errors against costs, and this search minimises no cost; give "
            "`targets` or `objectives`, or use `plot`"
        )
    render(results_of(study), path)
    return path


def results_of(study: Evaluated) -> Results:
    """The results of a search so far, as a report takes them; raises `ValueError` without any."""
    measured = _some(study)
    predictor = report_predictor(study.asked.problem)
    points = points_of(measured, predictor, batch=study.batch)
    found = Findings(study.space, measured, predictor, seed=study.seed)
    failed = len(study.failures)
    notes = (f"The objective failed for {failed} networks.",) if failed else ()
    space = study.space
    return Results(
        run=study.name,
        seed=study.seed,
        space=SpaceSummary(space.name, len(space.choices), str(space.size)),
        words=Words(study.metric, study.metric),
        task=capital(study.source),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        budget=min(study.budget, space.size) - failed,
        table=TableSummary(0, study.source, notes),
        evaluated=points,
        targets=tuple(_target(study, goal, found, points) for goal in study.goals),
    )


def _target(
    study: Evaluated, goal: Goal, found: Findings, points: tuple[Point, ...]
) -> TargetResult:
    made = found.on(goal, study.asked.origins[goal.name])
    notes = (*study.notes(goal), *made.notes)
    made = replace(made, references=study.references(goal), notes=notes)
    best = study.chosen(goal)
    if best is None:
        return replace(made, notes=(NONE_WITHIN, *made.notes))
    predicted = next(one.predicted for one in points if one.genotype == best.genotype)
    error = Estimate(study.metric.loss(best.metrics[study.metric.name]))
    chosen = Chosen(
        best.genotype,
        Comparison(predicted, error),
        best.costs[goal.name],
        description=study.space.describe(best.genotype),
    )
    return replace(made, chosen=chosen)


def _course(study: Evaluated) -> go.Figure:
    """The figure of each evaluated network, and the best one so far, over the evaluations."""
    losses, words = _some(study).losses, study.metric
    best = [words.figure(loss) for loss in np.minimum.accumulate(losses)]
    each = [words.figure(loss) for loss in losses]
    count = list(range(1, len(each) + 1))
    shown = style.figure(height=480)
    shown.add_trace(
        go.Scatter(name="evaluated", x=count, y=each, mode="markers", marker={"color": style.FAINT})
    )
    shown.add_trace(go.Scatter(name="best so far", x=count, y=best, line={"color": style.MEASURED}))
    shown.update_xaxes(title="evaluations")
    shown.update_yaxes(title=style.label(words.heading))
    return shown


def _some(study: Evaluated) -> Measurements:
    measured = study.measured
    if not len(measured):
        raise ValueError("no network is evaluated yet, so there is nothing to show")
    return measured
