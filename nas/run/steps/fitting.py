"""A run with a user's own trained network: policies searched, chosen, exported and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from nas.evaluation.evaluation import Evaluation
from nas.export import Exporter, forms_for, verify
from nas.export.raw import reading_raw
from nas.export.stand_in import stand_in
from nas.facts.usage import as_texts
from nas.files.durable import write_atomic
from nas.own.choosing import Picked, Timed, Wanted, picked
from nas.own.remembering import Memory
from nas.own.searching import Effort, Policies
from nas.own.tuned import evaluator_for, made_from, making, tuned
from nas.own.whole import WholeNetworks
from nas.problem.goals import Goal
from nas.recipe.model_recipe import ModelRecipe
from nas.report.data import Provenance, Results, SpaceSummary, TargetResult
from nas.report.estimates import Comparison, Estimate
from nas.report.layers import drawn_nodes, layer_policies
from nas.report.subnets import Chosen
from nas.report.words import Words
from nas.run.findings import NONE_WITHIN, Findings, points_of, report_predictor
from nas.run.folder import RunFolder
from nas.run.own_plan import OwnPlan, own_overview, prepare_own
from nas.run.plan import THIS_CPU
from nas.run.policies import about_choice, uniform_references
from nas.run.steps.exporting import PREDICTED, Export, write_predict
from nas.run.steps.reporting import latency_band, versions, written
from nas.run.steps.shipping import exported_file
from nas.run.steps.this_machine import table_of_this_machine
from nas.targets import HardwareTarget
from nas.targets.saturation import EightBitWeights
from nas.tasks.criterion import figures
from nas.tasks.facts import facts_of_task
from nas.terminal.display import Display
from supernets.deployed import Deployed


def fitted_model(recipe: ModelRecipe, files: RunFolder, display: Display) -> Results:
    """The results of a run with a user's own network, written to its folder."""
    recipe.compute.evaluating.check()
    plan = prepare_own(recipe, files)
    for shown in own_overview(plan):
        display.say(shown)
    write_atomic(files.space, plan.space.to_json().encode())
    plan = replace(plan, targets=tuple(_measured(plan, one, display) for one in plan.targets))
    found = _searched(plan, display)
    answers = {goal.name: _answer(plan, found, goal) for goal in found.problem.goals}
    exports = _exported(plan, answers, display)
    for name, answer in answers.items():
        display.say(f"{name}: {NONE_WITHIN if answer is None else answer.told}")
    return written(_results(plan, found, answers, exports), files)


@dataclass(frozen=True, eq=False)
class _Answer:
    """The policy that a device gets, and its network with the metadata of its files."""

    pick: Picked
    deployed: Deployed

    @property
    def told(self) -> str:
        """What the policy is, beside the uniform ones, and what its weights are."""
        return f"{self.pick.verdict} {making(self.deployed.metadata)}"


def _measured(plan: OwnPlan, target: HardwareTarget, display: Display) -> HardwareTarget:
    """The target; that of this machine with a table of all kernels, measured where missing."""
    if target.name != THIS_CPU:
        return target
    compute = plan.recipe.compute
    return table_of_this_machine(
        plan.space,
        plan.files.table,
        threads=compute.profile_threads,
        networks=compute.profile_networks,
        display=display,
    )


def _searched(plan: OwnPlan, display: Display) -> Policies:
    """The evaluations of all uniform policies and of as many others as the recipe allows."""
    recipe, settings, space = plan.recipe, plan.recipe.search, plan.space
    words = plan.task.criterion.error
    network = recipe.model.structure().applied(plan.network, plan.files.path, display)
    if plan.lesson is not None:
        network = tuned(network, space, plan.lesson, plan.files.path, display)
    memory = Memory(
        plan.files.path, recipe.name, network.digest, words.heading, tuned=network.tuned is not None
    )
    made = network.deployment(space)
    names = plan.uniforms
    measure = evaluator_for(network, made, names, judge=plan.judge, seed=recipe.seed)
    policies = Policies(
        plan.problem(),
        names,
        made,
        measure,
        memory.known(but=space),
        memory.archive(space),
        plan.files.path,
    )
    workers = recipe.compute.evaluating
    effort = Effort(settings.searcher, settings.budget, settings.batch, recipe.seed, workers)
    policies.search(effort, lambda done, budget, latest: None, display)
    return policies


def _timed(plan: OwnPlan, found: Policies, goal: Goal) -> Timed | None:
    """What measures whole networks for a goal; None unless its first cost is latency here."""
    if goal.name != THIS_CPU or goal.objectives[0] != "latency_ms":
        return None
    cpu = next(one for one in plan.targets if one.name == THIS_CPU)
    weights: EightBitWeights = cpu.eight_bit_weights
    threads = plan.recipe.compute.profile_threads
    whole = plan.files.path / "whole.json"
    return WholeNetworks(
        found.measure.deployment, plan.space, whole, weights=weights, threads=threads
    )


def _answer(plan: OwnPlan, found: Policies, goal: Goal) -> _Answer | None:
    """The answer for a goal; None if no policy is within the limits and good enough."""
    section = plan.section(goal.name)
    pick = picked(
        goal,
        found.archive.measurements(),
        names=plan.uniforms,
        by=plan.judge.by,
        wanted=Wanted(section.limits, section.allowed_drop),
        alike=plan.judge.alike,
        timed=_timed(plan, found, goal),
    )
    if pick is None:
        return None
    genotype = pick.evaluation.genotype
    deployed = found.measure.deployment(genotype)
    made = made_from(deployed, genotype, space=plan.space, rewrites=plan.network.rewrites)
    told = {**deployed.metadata, **made, **_described(plan, goal.name, pick.evaluation)}
    return _Answer(pick, replace(deployed, metadata=told))


def _exported(
    plan: OwnPlan, answers: Mapping[str, _Answer | None], display: Display
) -> dict[str, tuple[Export, ...]]:
    """The exports for each target, run on the test split."""
    made: dict[str, tuple[Export, ...]] = {}
    with display.stage("export") as advance:
        for done, target in enumerate(plan.targets):
            advance(done, len(plan.targets), target.name)
            answer = answers[target.name]
            if answer is None:
                continue
            weights = target.eight_bit_weights
            forms = forms_for(plan.recipe.export.formats, eight_bit_weights=weights)
            made[target.name] = tuple(_export(plan, answer, form) for form in forms)
        advance(len(plan.targets), len(plan.targets), "")
    if any(one.path.suffix == PREDICTED for each in made.values() for one in each):
        write_predict(plan.files)
    return made


def _described(plan: OwnPlan, target: str, evaluation: Evaluation) -> dict[str, str]:
    """The metadata of every file that is exported for a target."""
    usage = plan.task.usage.raw() if plan.recipe.export.raw else plan.task.usage
    return {
        **as_texts(usage.stated(plan.task.inputs, plan.task.output)),
        "run": plan.recipe.name,
        "space": plan.space.fingerprint,
        "genotype": ",".join(map(str, evaluation.genotype)),
        "target": target,
    }


def _export(plan: OwnPlan, answer: _Answer, form: Exporter) -> Export:
    """The network in one form, verified by running the file on the test split."""
    pick, deployed = answer.pick, answer.deployed
    raw = plan.task.usage if plan.recipe.export.raw else None
    path = plan.files.exported(deployed.metadata["target"], form.suffix)
    told = replace(
        stand_in(plan.space.decode(pick.evaluation.genotype)), metadata=deployed.metadata
    )
    foretold = form.foretold_bytes(reading_raw(told, raw))
    form.write(reading_raw(deployed, raw), path)
    samples, criterion = plan.task.test_samples(), plan.task.criterion
    return Export(
        form.name, path, verify(path, deployed, *samples, criterion=criterion, raw=raw), foretold
    )


def _results(
    plan: OwnPlan,
    found: Policies,
    answers: Mapping[str, _Answer | None],
    exports: Mapping[str, Sequence[Export]],
) -> Results:
    recipe, measured = plan.recipe, found.archive.measurements()
    predictor = report_predictor(found.problem)
    points = points_of(measured, predictor, batch=recipe.search.batch)
    findings = Findings(plan.space, measured, predictor, seed=recipe.seed)
    criterion, sizes = plan.task.criterion, plan.task.sizes()
    further = {name: figure.words for name, figure in figures(criterion).items()}
    return Results(
        run=recipe.name,
        seed=recipe.seed,
        space=SpaceSummary(recipe.name, len(plan.space.choices), str(plan.space.size)),
        words=Words(criterion.error, criterion.shown, further),
        task=f"{plan.task.name}: {', '.join(f'{n} {split}' for split, n in sizes.items())} samples",
        data=facts_of_task(plan.task),
        usage=plan.task.stated(),
        recipe=recipe.model_dump(mode="json"),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        budget=len(measured),
        evaluated=points,
        targets=tuple(
            _target(plan, findings, target, goal, answers[goal.name], exports.get(goal.name, ()))
            for target, goal in zip(plan.targets, found.problem.goals, strict=True)
        ),
    )


def _target(
    plan: OwnPlan,
    findings: Findings,
    target: HardwareTarget,
    goal: Goal,
    answer: _Answer | None,
    exports: Sequence[Export],
) -> TargetResult:
    origin = Provenance(target.provenance, target.device, target.runtime)
    made = findings.on(goal, origin)
    references = uniform_references(goal, findings.measured, plan.uniforms)
    band = latency_band(target)
    made = replace(made, references=references, latency_band=band, memory=target.limits)
    if answer is None:
        return replace(made, notes=(NONE_WITHIN, *made.notes))
    pick, told = answer.pick, answer.deployed.metadata
    evaluation = pick.evaluation
    costs = {n: float(c(np.array([evaluation.genotype]))[0]) for n, c in goal.costs.items()}
    interval = evaluation.answers and evaluation.answers.interval
    graph = plan.space.decode(evaluation.genotype)
    whole = pick.latency_ms.get(evaluation.genotype)
    latency = Comparison(Estimate(costs["latency_ms"]), None if whole is None else Estimate(whole))
    chosen = Chosen(
        genotype=evaluation.genotype,
        error=Comparison(None, Estimate(evaluation.error, interval=interval)),
        costs=costs,
        layers=layer_policies(graph),
        description=plan.space.describe(evaluation.genotype),
        latency_ms=latency,
        files=tuple(map(exported_file, exports)),
        graph=drawn_nodes(graph),
    )
    notes = about_choice(pick, plan.space, plan.uniforms, made=told, samples=plan.samples)
    return replace(made, chosen=chosen, notes=(*notes, *made.notes))
