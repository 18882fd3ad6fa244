"""The plan of a run with a user's own trained network: read and checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas.export import Exporter, forms_for
from nas.export.form import has_type
from nas.facts.usage import Scaling
from nas.own.formats import opening_for
from nas.own.judging import CriterionJudge, Part, require_useful
from nas.own.lessons import Lesson, settings_of
from nas.own.model import OwnModelError, require_model
from nas.own.network import OwnNetwork, traced
from nas.own.options import Tuning
from nas.own.preparing import prepared_as
from nas.own.samples import Samples, outputs_of_few, shapes_of
from nas.own.sources import network_of
from nas.own.structure import Structure
from nas.own.uniform import uniform_names
from nas.problem.feasibility import feasibility
from nas.problem.goals import Goal, Problem, within_device
from nas.recipe.model_recipe import (
    ModelRecipe,
    ModelSection,
    ModelTargetSection,
    TuningSection,
)
from nas.recipe.recipe import RecipeError
from nas.report import text
from nas.report.data_read import data_read
from nas.run.folder import RunFolder
from nas.run.plan import THIS_CPU, warned
from nas.run.target_costs import TargetCosts
from nas.targets import HardwareTarget, legal, load_target
from nas.tasks import Task
from nas.tasks.facts import facts_of_task
from nas.terminal.display import TerminalTable
from search_spaces.formats import Format
from search_spaces.quant import Quant
from search_spaces.space import Genotype, SearchSpace
from supernets.inputs import Inputs
from supernets.training.fine_tune import Imitation, OwnLoss


@dataclass(frozen=True, eq=False)
class OwnPlan:
    """The recipe, the data, the traced network and the targets, which all steps share.

    Attributes:
        recipe: The recipe.
        files: The run folder.
        task: The data, prepared as the network takes them.
        network: The network.
        judge: The judge of networks made from it.
        space: The policies to choose from, without options that no target can run.
        lesson: What the network learns from in a few epochs; None without such.
        targets: The devices, in the recipe's order; that of this machine may lack its table.
        float_error: The error of the float network on the samples that guide the search.
    """

    recipe: ModelRecipe
    files: RunFolder
    task: Task
    network: OwnNetwork
    judge: CriterionJudge
    space: SearchSpace
    lesson: Lesson | None
    targets: tuple[HardwareTarget, ...]
    float_error: float

    @property
    def uniforms(self) -> dict[Genotype, str]:
        """The names of the uniform policies."""
        return uniform_names(self.space)

    @property
    def samples(self) -> dict[str, int]:
        """The numbers of samples, by purpose."""
        return {
            "calibration": len(self.network.calibration),
            "search": len(self.judge.seen.samples),
            "judging": len(self.judge.unseen.samples),
        }

    def section(self, target: str) -> ModelTargetSection:
        """The section of the recipe for the target of a name."""
        names = [one.name for one in self.targets]
        return self.recipe.targets[names.index(target)]

    def problem(self) -> Problem:
        """One goal per target.

        Raises:
            TargetError: Rows are missing in a table.
            ConstraintError: No policy is within the limits of a target.
            RecipeError: A target has no cost of a name.
        """
        return Problem(self.space, tuple(map(self.goal, self.targets)))

    def goal(self, target: HardwareTarget) -> Goal:
        """The goal for a target; its errors are those of `problem`."""
        section, known = self.section(target.name), TargetCosts(self.space).on(target)
        if unknown := sorted({*section.objective, *section.limits} - {*known}):
            raise RecipeError(
                f"target {section.name!r} has no cost {', '.join(unknown)}; objective and limits "
                f"may name {', '.join(known)}"
            )
        limits, origins = within_device(section.limits, target.limits)
        goal = Goal(target.name, known, section.objective, limits, origins)
        feasibility(goal, self.space, rng=np.random.default_rng(self.recipe.seed))
        return goal


def prepare_own(recipe: ModelRecipe, files: RunFolder) -> OwnPlan:
    """The plan of a run with a user's own network.

    Raises:
        OwnModelError: The network, its weights or the data cannot be used.
        TraceError: The network cannot become a graph.
        RecipeError, TargetError, TaskError: As these exceptions say.
    """
    forms = forms_for(recipe.export.formats)
    _require_types(recipe.model, forms)
    if recipe.compute.threads is not None:
        torch.set_num_threads(recipe.compute.threads)
    targets = tuple(_loaded(section.name, files) for section in recipe.targets)
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise RecipeError(f"targets must have distinct names, given {', '.join(names)}")
    section = recipe.model
    model = require_model(
        network_of(section.source, options=section.options, weights=section.weights, beside=Path())
    )
    task = prepared_as(recipe.task.load(), _scaling(section))
    structure = section.structure()
    calibration = _samples(task.train.inputs, slice(section.calibration_samples))
    _require_fit(model, calibration, task)
    seen, unseen = _judging(task)
    float_error = require_useful(model, task.criterion, seen)
    network = traced(
        model,
        calibration,
        seen.samples,
        unseen.samples,
        rewrites=structure.rewrites,
        names=[*task.train.inputs],
        folded=section.epochs is not None,
    )
    judge = CriterionJudge(network.calling, task.criterion, seen, unseen)
    space = _space(recipe, network, structure, targets)
    lesson = None if section.epochs is None else _lesson(section.epochs, task)
    plan = OwnPlan(recipe, files, task, network, judge, space, lesson, targets, float_error)
    for target in targets:
        if target.lacking(space) is None:
            plan.goal(target)
    return plan


def _lesson(section: TuningSection, task: Task) -> Lesson:
    """What the network learns from: the training samples, and its own outputs or the targets."""
    asked = Tuning(
        epochs=section.epochs,
        learning_rate=section.learning_rate,
        batch_size=section.batch_size,
    )
    criterion = task.criterion
    aim = OwnLoss(criterion.loss, criterion.distance) if section.labels else None
    settings = settings_of(asked, len(task.train))
    return Lesson(task.train, aim or Imitation(criterion.distance), settings)


def _space(
    recipe: ModelRecipe,
    network: OwnNetwork,
    structure: Structure,
    targets: Sequence[HardwareTarget],
) -> SearchSpace:
    """The policies to choose from, without options that no target can run."""
    costs = [name for one in recipe.targets for name in (*one.objective, *one.limits)]
    forms = forms_for(recipe.export.formats)
    alone = recipe.model.alone
    usual = opening_for(network.graph, targets, costs=costs, alone=alone, forms=forms)
    made = recipe.model.opening(usual)
    try:
        found = structure.space(network.graph, made, targets, name=recipe.name)
    except OwnModelError:
        raise
    except ValueError as error:
        raise RecipeError(f"model.alone, weight_bits and activation_bits: {error}") from error
    return legal(found, targets)


def _require_types(section: ModelSection, forms: Sequence[Exporter]) -> None:
    """Refuse formats of weights and activations for which a form of export has no type."""
    options = (*(section.weight_bits or ()), *(section.activation_bits or ()))
    named = dict.fromkeys(option for option in options if isinstance(option, Format))
    for form in forms:
        lost = [option.name for option in named if not has_type(form, Quant(option))]
        if lost:
            raise RecipeError(
                f"export.formats: {form.name!r} has no type for {', '.join(lost)}; leave these out "
                f"of model.weight_bits and model.activation_bits, or {form.name!r} out of "
                "export.formats"
            )


def _loaded(name: str, files: RunFolder) -> HardwareTarget:
    if name == THIS_CPU:
        return load_target(name, table=files.table, unmeasured=True)
    return load_target(name)


def _scaling(section: ModelSection) -> Scaling | None:
    """The scaling of raw numbers that a section asks for."""
    if section.mean is None or section.std is None:
        return None
    mean, std = ([one * section.divide for one in each] for each in (section.mean, section.std))
    return Scaling(tuple(mean), tuple(std))


def _samples(inputs: Inputs, rows: slice | torch.Tensor) -> Samples:
    return Samples((), tuple(tensor[rows] for tensor in inputs.values()))


def _judging(task: Task) -> tuple[Part, Part]:
    """Two disjoint halves of the validation samples, drawn by a fixed seed."""
    split = task.validation
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(split)))
    halves = order[: len(split) // 2], order[len(split) // 2 :]
    seen, unseen = (Part(_samples(split.inputs, rows), split.targets[rows]) for rows in halves)
    return seen, unseen


def _require_fit(model: torch.nn.Module, calibration: Samples, task: Task) -> None:
    """Refuse a network that does not read the task's inputs or gives another output."""
    where = f"inputs of the task {task.name!r}, of the shape {shapes_of(calibration)}"
    remedy = "give the task the size that the network takes, such as task.image_size"
    found = outputs_of_few(model, calibration, where=where, remedy=remedy)
    given = [tuple(one.shape[1:]) for one in found]
    if given != [tuple(task.output)]:
        raise OwnModelError(
            f"the model gives {' and '.join(map(str, given))} per sample, but the task "
            f"{task.name!r} has answers of the shape {tuple(task.output)}; give the network of "
            "this task, or the data of this network"
        )


def own_overview(plan: OwnPlan) -> list[TerminalTable | str]:
    """The data, the network and the targets, for the terminal."""
    space = plan.space
    title = (
        f"{plan.recipe.model.source}: {len(space.choices)} choices, {space.size:.3g} policies, "
        f"{len(plan.uniforms)} of them uniform"
    )
    targets = TerminalTable(("target", "figures", "minimised", "limits"), title=title)
    for target, section in zip(plan.targets, plan.recipe.targets, strict=True):
        objectives, limits = ", ".join(section.objective), text.limits(section.limits)
        targets.add_row(target.name, target.provenance, objectives, limits)
    calibrating, seen, unseen = plan.samples.values()
    told = f"{calibrating} samples calibrate, {seen} guide the search, {unseen} others judge"
    warnings = [words for target in plan.targets for words in warned(target)]
    return [*data_read(facts_of_task(plan.task)), targets, told, *warnings]
