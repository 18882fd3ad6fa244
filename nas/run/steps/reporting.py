"""The results of a run and their files: results.json, a Pareto table per target, report.html."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from nas.evaluation.measurements import Measurements
from nas.problem.front import measured_front
from nas.report.data import FigureOrigin, Provenance, ProxyRank, Results, SpaceSummary, TargetResult
from nas.report.estimates import LatencyBand
from nas.report.html import render
from nas.report.store import save
from nas.report.subnets import Point
from nas.report.summary import write_front_csv
from nas.report.words import Words
from nas.run.findings import NONE_WITHIN, Findings, points_of
from nas.run.folder import RunFolder
from nas.run.measuring import told_by_files
from nas.run.plan import Plan, cost_ranges
from nas.run.probing import Probe, probed, proxies_of
from nas.run.references import yardsticks
from nas.run.sources import changed_figures
from nas.run.steps.exporting import Shipped, checked_costs
from nas.run.steps.offering import predictor_of
from nas.run.steps.shipping import described
from nas.run.steps.training import training_summary
from nas.targets import HardwareTarget
from nas.targets.correction.correction import calibration_of
from nas.targets.coverage import suspicions
from nas.tasks.facts import facts_of_task
from predictors.proxies.ranking import directions, proxy_report
from supernets.supernet import Supernet

_PACKAGES = ("elastic-nas", "torch", "onnxruntime", "onnx", "numpy", "pymoo", "optuna")


def reported(
    plan: Plan,
    supernet: Supernet,
    measured: Measurements,
    shipped: Mapping[str, Shipped],
) -> Results:
    """The results of a run, written to its folder with tables and report."""
    probe = probed(plan, supernet) if plan.recipe.search.proxies else None
    return written(_results(plan, supernet, measured, shipped, probe), plan.files)


def written(results: Results, files: RunFolder) -> Results:
    """The same results, after writing them to the folder as JSON, tables and a report."""
    save(results, files.results)
    for target in results.targets:
        write_front_csv(target, files.front(target.name), words=results.words)
    render(results, files.report)
    return results


def _results(
    plan: Plan,
    supernet: Supernet,
    measured: Measurements,
    shipped: Mapping[str, Shipped],
    probe: Probe | None,
) -> Results:
    predictor = predictor_of(plan, probe)
    points = points_of(measured, predictor, batch=plan.recipe.search.batch)
    found = Findings(plan.space, measured, predictor, seed=plan.recipe.seed)
    compared = yardsticks(plan, supernet)
    targets: list[TargetResult] = []
    for target, goal in zip(plan.targets, plan.problem.goals, strict=True):
        made = _target(plan, target, found.on(goal, _provenance(target)), shipped, points)
        checks = checked_costs(plan, supernet, target.name, measured_front(goal, measured))
        targets.append(replace(made, references=compared.on(target), cost_checks=checks))
    sizes, criterion = plan.task.sizes(), plan.task.criterion
    further = {name: figure.words for name, figure in plan.figures.items()}
    return Results(
        run=plan.recipe.name,
        seed=plan.recipe.seed,
        space=SpaceSummary(
            plan.space.name, len(plan.space.choices), str(plan.space.size), cost_ranges(plan)
        ),
        words=Words(criterion.error, criterion.shown, further),
        task=f"{plan.task.name}: {', '.join(f'{n} {split}' for split, n in sizes.items())} samples",
        data=facts_of_task(plan.task),
        usage=told_by_files(plan),
        recipe=plan.recipe.model_dump(mode="json"),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        budget=min(plan.recipe.search.budget, plan.space.size),
        training=training_summary(plan),
        largest=compared.summary,
        evaluated=points,
        targets=tuple(targets),
        proxies={} if probe is None else _proxies(plan, probe, measured),
        figures=tuple(
            FigureOrigin(f"{target.name}: source of its figures", target.provenance, target.source)
            for target in plan.targets
            if target.source
        ),
    )


def versions() -> dict[str, str]:
    """The versions of software and platform of this process, by name."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found, "platform": platform.platform()}


def _proxies(plan: Plan, probe: Probe, measured: Measurements) -> dict[str, ProxyRank]:
    """The rank correlation of each proxy with the errors of the subnets that were evaluated."""
    places = measured.places(probe.genotypes)
    both = places >= 0
    if both.sum() < 2:
        return {}
    scores = {name: values[both] for name, values in probe.scores.items()}
    larger = directions(proxies_of(plan))
    taus = proxy_report(scores, measured.losses[places[both]], larger_is_better=larger)
    return {
        name: ProxyRank("higher" if larger[name] else "lower", tau, int(both.sum()))
        for name, tau in taus.items()
    }


def latency_band(target: HardwareTarget) -> LatencyBand | None:
    """The error of the target's predicted latencies; None without a calibration."""
    calibration = calibration_of(target)
    return calibration and LatencyBand(**asdict(calibration.error))


def _provenance(target: HardwareTarget) -> Provenance:
    return Provenance(target.provenance, target.device, target.runtime)


def _target(
    plan: Plan,
    target: HardwareTarget,
    found: TargetResult,
    shipped: Mapping[str, Shipped],
    points: Sequence[Point],
) -> TargetResult:
    """The results for one device, with the subnet that ships there."""
    band = latency_band(target)
    odd = (f"Look at the latencies: {words}" for words in suspicions(target))
    notes = (*found.notes, *changed_figures(plan, target), *odd)
    tolerance = plan.section(target).tolerance
    found = replace(
        found, latency_band=band, tolerance=tolerance, notes=notes, memory=target.limits
    )
    if target.name not in shipped:
        return replace(found, notes=(NONE_WITHIN, *found.notes))
    goal = plan.problem.goals[plan.targets.index(target)]
    chosen = described(plan, goal, shipped[target.name], points, band=band)
    return replace(found, chosen=chosen)
