"""The plan of a run: the recipe with its data, space and targets, read and checked first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nas.evaluation.connection import require_ray, require_ray_train
from nas.evaluation.evaluation import ERROR
from nas.export import forms_for
from nas.export.raw import require_scaling
from nas.parts import Parts
from nas.problem.feasibility import ConstraintError, feasibility
from nas.problem.goals import Goal, Measured, Problem, within_device
from nas.recipe.recipe import Recipe, RecipeError, TargetSection
from nas.report import text
from nas.report.data import CostRange
from nas.report.data_read import data_read
from nas.run.folder import RunFolder
from nas.run.target_costs import TargetCosts
from nas.targets import HardwareTarget, legal, load_target
from nas.targets.coverage import suspicions
from nas.tasks import Task
from nas.tasks.criterion import CriterionError, Figure, figures
from nas.tasks.facts import facts_of_task
from nas.terminal.display import TerminalTable
from search_spaces.choice import variants
from search_spaces.space import SearchSpace
from supernets.ranks import require_rows
from supernets.training.context import Cost
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.split import split

if TYPE_CHECKING:  # most runs learn from no other run and need not load it
    from nas.run.experience import Experience

THIS_CPU = "this-cpu"
_SUMMARY_SAMPLES = 2001


@dataclass(frozen=True, eq=False)
class Plan:
    """The recipe, data, space and targets of a run, which all its steps share.

    Attributes:
        recipe: The recipe.
        files: The run folder.
        task: The data.
        space: The search space, without options that no target can run.
        targets: The devices, in the recipe's order.
        costs: The costs of the networks of the space on the targets.
    """

    recipe: Recipe
    files: RunFolder
    task: Task
    space: SearchSpace
    targets: tuple[HardwareTarget, ...]
    costs: TargetCosts

    def goal(self, target: HardwareTarget) -> Goal:
        """The goal for `target`; raises `TargetError` if rows are missing in its table."""
        section = self.section(target)
        named = {*section.objective, *section.limits}
        told = {name: figure for name, figure in self.figures.items() if name in named}
        measured = {name: Measured(figure.metric) for name, figure in told.items()}
        known = {**self.costs.on(target), **measured}
        _check_named(section, known, measured, self.figures)
        limits, origins = within_device(section.limits, target.limits)
        limits |= {n: told[n].words.loss(limit) for n, limit in limits.items() if n in told}
        return Goal(target.name, known, section.objective, limits, origins)

    @cached_property
    def training(self) -> TrainingSettings:
        """The settings of the training, with the recipe's seed and with `epochs` split."""
        return split(
            self.recipe.training.settings(seed=self.recipe.seed),
            self.space,
            samples=len(self.task.train),
        )

    @cached_property
    def start(self) -> dict[str, Tensor] | None:
        """The float weights of the recipe's file; None without a file, or if training is done."""
        file = self.recipe.training.start
        if file is None or self.files.supernet.exists():
            return None
        from nas.run.start import start_weights

        return start_weights(file, self.space)

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The figures of the task's criterion, by the name that objectives and limits give them."""
        return figures(self.task.criterion)

    @property
    def device_cost(self) -> Cost | None:
        """The first objective of the first target; None if its table is not measured yet."""
        first = self.targets[0]
        if first in self.unmeasured:
            return None
        goal = self.goal(first)
        return goal.costs[goal.objectives[0]]

    @property
    def named_figures(self) -> tuple[str, ...]:
        """The figures of the criterion that some target's objectives or limits name."""
        named = {name for each in self.recipe.targets for name in (*each.objective, *each.limits)}
        return tuple(name for name in self.figures if name in named)

    def section(self, target: HardwareTarget) -> TargetSection:
        """The section of the recipe for `target`."""
        return self.recipe.targets[self.targets.index(target)]

    def reloaded(self) -> Plan:
        """The same plan with this machine's table read again from the disk."""
        targets = tuple(
            _loaded(section.name, self.files) if target.name == THIS_CPU else target
            for section, target in zip(self.recipe.targets, self.targets, strict=True)
        )
        return replace(self, targets=targets)

    @cached_property
    def unmeasured(self) -> tuple[HardwareTarget, ...]:
        """The targets whose table must be measured on this machine first."""
        here = (target for target in self.targets if target.name == THIS_CPU)
        return tuple(target for target in here if target.lacking(self.space) is not None)

    @cached_property
    def experience(self) -> Experience | None:
        """The experience from another run, if the recipe names one.

        Once a copy is in the run folder, that copy is read.
        """
        source, shared = self.recipe.search.transfer, self.recipe.search.archive
        if source is None:
            return None
        from nas.run.experience import experience_of, kept

        if self.files.transfer.exists():
            return kept(self.files.transfer)
        return experience_of(source, databases=() if shared is None else (shared,))

    @cached_property
    def problem(self) -> Problem:
        """The problem of the search: one goal per target, with one shared metric."""
        return Problem(self.space, tuple(self.goal(target) for target in self.targets))


def _check_named(
    section: TargetSection,
    known: Mapping[str, object],
    measured: Mapping[str, Measured],
    figures: Mapping[str, Figure],
) -> None:
    """Raise `RecipeError` if an objective or limit of a target is unknown or makes no sense."""
    where = f"target {section.name!r}"
    if unknown := sorted({*section.objective, *section.limits} - {*known}):
        raise RecipeError(
            f"{where} has no cost {', '.join(unknown)}; objective and limits may name "
            f"{', '.join(known)}, and figures of the task: {', '.join(figures)}"
        )
    if section.objective[0] in measured:
        raise RecipeError(
            f"{where} has the first objective {section.objective[0]!r}, which only an evaluation "
            "tells; begin with a cost of the device, by which networks are ordered, such as "
            f"{next(iter(known))}"
        )
    for name in section.objective:
        if name in measured and measured[name].metric == ERROR:
            raise RecipeError(
                f"{where} has the objective {name!r}, which every search minimises already; leave "
                "it out, or give it as a limit"
            )
    for name, limit in section.limits.items():
        if name in measured and not figures[name].words.loss(limit) > 0:
            raise RecipeError(
                f"{where} has the limit {name} = {limit:g}, which no network can pass: its best is "
                f"{figures[name].words.figure(0):g}; give a limit that is less strict"
            )


def load_targets(recipe: Recipe, files: RunFolder) -> tuple[HardwareTarget, ...]:
    """The recipe's targets; the target of this machine has its table from the run folder."""
    targets = tuple(_loaded(section.name, files) for section in recipe.targets)
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise RecipeError(f"targets must have distinct names, given {', '.join(names)}")
    return targets


def _loaded(name: str, files: RunFolder) -> HardwareTarget:
    if name == THIS_CPU:
        return load_target(name, table=files.table, unmeasured=True)
    return load_target(name)


def prepare(recipe: Recipe, files: RunFolder) -> Plan:
    """The plan of a recipe, with data, space and targets read.

    All errors that can be found without training or measuring are raised here.
    """
    if recipe.compute.workers:
        require_ray()
    if recipe.compute.train_workers:
        require_ray_train()
    forms_for(recipe.export.formats)
    targets = load_targets(recipe, files)
    task = recipe.task.load()
    _check_held_back(recipe, len(task.validation))
    require_scaling(task.usage if recipe.export.raw else None)
    # A trained supernet keeps its space, whatever the targets of a later search could run.
    space = files.trained_space() or legal(recipe.space.build(task), targets)
    plan = Plan(recipe, files, task, space, targets, TargetCosts(space))
    _check_training(plan)
    _check_divergence(recipe, task)
    if recipe.search.early_stop and plan.named_figures:
        raise RecipeError(
            f"search.early_stop needs costs that are known before an evaluation, but targets name "
            f"{', '.join(plan.named_figures)}; leave early_stop out, or these"
        )
    if plan.experience is not None:
        try:
            plan.experience.column(space)
        except ValueError as error:
            raise RecipeError(f"search.transfer = {recipe.search.transfer}: {error}") from error
    for target in targets:
        if target not in plan.unmeasured:
            feasibility(
                plan.goal(target).computed, plan.space, rng=np.random.default_rng(recipe.seed)
            )
    return plan


def _check_training(plan: Plan) -> None:
    settings = plan.training
    try:
        schedule(settings, len(plan.task.train), rate=Parts("schedule")[settings.schedule])
        require_rows(plan.recipe.compute.train_workers, settings.batch_size)
        for node in plan.space.graph.nodes.values():
            weights = [quant for quant in variants(node.op.weight) if quant is not None]
            Parts("quantizer")[settings.quantizer].check_weights(weights)
    except ValueError as error:
        raise RecipeError(f"training: {error}") from error
    _ = plan.start


def _check_held_back(recipe: Recipe, samples: int) -> None:
    search = recipe.search
    left = max(0, samples - (search.validation_samples or samples))
    if search.confirm_samples > left:
        raise RecipeError(
            f"search.confirm_samples = {search.confirm_samples}: the search leaves {left} of the "
            f"{samples} validation samples; give fewer, or a smaller search.validation_samples"
        )


def _check_divergence(recipe: Recipe, task: Task) -> None:
    """Raise `RecipeError` if the divergence of the training cannot compare outputs of the task."""
    divergences, name = Parts("divergence"), recipe.training.divergence
    out = torch.zeros(2, *task.output)
    try:
        divergences[name](out, out, task.criterion)
    except CriterionError as error:
        raise RecipeError(
            f"training.divergence = {name!r} cannot compare outputs of the task {task.name!r}: "
            f"{error}; give {divergences.default!r}"
        ) from error


def cost_ranges(plan: Plan) -> dict[str, CostRange]:
    """The smallest, median and largest value of every shared cost, by name."""
    rows = plan.space.sample_array(np.random.default_rng(plan.recipe.seed), _SUMMARY_SAMPLES)
    ends = np.array([plan.space.smallest, plan.space.largest])
    return {
        name: CostRange(float(cost(ends)[0]), float(np.median(cost(rows))), float(cost(ends)[1]))
        for name, cost in plan.costs.shared.items()
    }


def overview(plan: Plan) -> list[TerminalTable | str]:
    """The data, the space and the targets of the search, for the terminal."""
    size = plan.space.size
    title = f"{plan.space.name}: {len(plan.space.choices)} choices, {size:.3g} distinct networks"
    space = TerminalTable(("cost", "smallest", "median", "largest"), title=title)
    for name, made in cost_ranges(plan).items():
        space.add_row(
            name, *(f"{value:,.0f}" for value in (made.smallest, made.median, made.largest))
        )
    targets = TerminalTable(("target", "figures", "minimised", "random subnets within limits"))
    for target in plan.targets:
        objectives = ", ".join(plan.section(target).objective)
        share = "after profiling" if target in plan.unmeasured else _share(plan, target)
        targets.add_row(target.name, target.provenance, objectives, share)
    limits = [words for target in plan.targets for words in _limits(plan, target)]
    warnings = [words for target in plan.targets for words in warned(target)]
    return [*data_read(facts_of_task(plan.task)), space, targets, *limits, *warnings]


def _limits(plan: Plan, target: HardwareTarget) -> Iterator[str]:
    """The limits on a target, a line each, and those that its own memory sets."""
    limits, origins = within_device(plan.section(target).limits, target.limits)
    for name, limit in limits.items():
        origin = f" ({origins[name]})" if name in origins else ""
        yield f"{target.name}: {name} {_relation(plan, name)} {text.limit(name, limit)}{origin}"


def warned(target: HardwareTarget) -> list[str]:
    """Warnings about latencies of a target that are probably wrong, for the terminal."""
    return [f"warning: {target.name}: {words}" for words in suspicions(target)]


def _relation(plan: Plan, name: str) -> str:
    figure = plan.figures.get(name)
    return "≥" if figure is not None and figure.words.larger_is_better else "≤"


def _share(plan: Plan, target: HardwareTarget) -> str:
    rng = np.random.default_rng(plan.recipe.seed)
    share = feasibility(plan.goal(target).computed, plan.space, rng=rng).share
    return "under 1%" if share < 0.005 else f"{share:.0%}"


__all__ = ["ConstraintError", "Plan", "cost_ranges", "load_targets", "overview", "prepare"]
