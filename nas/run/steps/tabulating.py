"""A run over a table of known networks: read and search the table, and write the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from nas.archive.archive import Archive
from nas.evaluation.evaluation import flat
from nas.evaluation.measurements import Measurements
from nas.files.durable import write_atomic
from nas.problem.feasibility import feasibility
from nas.problem.goals import Goal, Measured, Problem
from nas.recipe.recipe import RecipeError
from nas.recipe.table_recipe import TableRecipe, TableTargetSection
from nas.report import text
from nas.report.data import Provenance, Results, SpaceSummary, TableSummary, TargetResult
from nas.report.estimates import Comparison, Estimate
from nas.report.subnets import Chosen, Point
from nas.report.text import capital
from nas.report.words import Words
from nas.run.findings import NONE_WITHIN, Findings, points_of, report_predictor
from nas.run.folder import RunFolder
from nas.run.known_fronts import KnownFront, known_fronts, progress_in_words
from nas.run.steps.exporting import chosen
from nas.run.steps.reporting import versions, written
from nas.run.steps.searching import within_space
from nas.search.loop import search
from nas.search.named import searcher_named
from nas.search.searcher import Searcher
from nas.tabular import TableError, Tabular, open_table
from nas.terminal.display import Display, TerminalTable


@dataclass(frozen=True, eq=False)
class TablePlan:
    """The recipe, table and goals of a run over a table, which all its steps share.

    Attributes:
        recipe: The recipe.
        files: The run folder.
        table: The table.
        targets: The recipe's section for each device.
        problem: The problem, with one goal per device.
    """

    recipe: TableRecipe
    files: RunFolder
    table: Tabular
    targets: tuple[TableTargetSection, ...]
    problem: Problem

    @property
    def words(self) -> Words:
        """The words of the loss and of costs."""
        return Words(self.table.words, self.table.words)


def prepare_table(recipe: TableRecipe, files: RunFolder) -> TablePlan:
    """The plan of a run over a table; all errors that need no search are raised here.

    Raises:
        TableError: The table cannot be used, or has no such device or cost.
        ConstraintError: No network meets a device's limits.
    """
    table = open_table(recipe.table.description, data=recipe.table.data)
    targets = recipe.targets or tuple(TableTargetSection(name=name) for name in table.devices)
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise TableError(f"targets must have distinct names, given {', '.join(names)}")
    for target in targets:
        table = table.measuring(target.name, target.measured)
    goals = tuple(
        table.goal(target.name, [target.objective] if target.objective else (), target.limits)
        for target in targets
    )
    for goal in goals:
        if goal.limits:
            feasibility(table.looked_up(goal), table.space, rng=np.random.default_rng(recipe.seed))
    return TablePlan(recipe, files, table, targets, Problem(table.space, goals))


def table_overview(plan: TablePlan) -> list[TerminalTable]:
    """The table and the devices of the search, as tables for the terminal."""
    table = plan.table
    title = (
        f"{table.name}: {len(table.space.choices)} choices, {table.space.size:.3g} distinct "
        f"networks, {table.rows:,} rows"
    )
    choices = TerminalTable(("choice", "options"), title=title)
    for made in table.space.choices:
        choices.add_row(made.name, ", ".join(map(str, made.options)))
    targets = TerminalTable(("target", "minimised", "limits"))
    for goal in plan.problem.goals:
        named = (_named(goal, name) for name in goal.objectives)
        targets.add_row(goal.name, ", ".join(named), text.limits(goal.limits))
    return [choices, targets]


def _named(goal: Goal, name: str) -> str:
    """The name of a cost, with a remark if evaluations must measure the cost."""
    return f"{name} (measured)" if isinstance(goal.costs[name], Measured) else name


def searched_table(recipe: TableRecipe, files: RunFolder, display: Display) -> Results:
    """The results of a search of the table up to the recipe's budget, written to the folder."""
    plan = prepare_table(recipe, files)
    for shown in table_overview(plan):
        display.say(shown)
    if plan.table.advice:
        display.say(plan.table.advice)
    write_atomic(files.space, plan.table.space.to_json().encode())
    archive = Archive(files.archive, plan.table.space, study=recipe.name)
    _require_same_figures(plan.table, archive)
    fronts = known_fronts(plan.table, plan.problem)
    with display.stage("search") as advance:
        search(
            _searcher(plan),
            plan.table.evaluator(seed=recipe.seed),
            archive,
            budget=within_space(plan.table.space, recipe.search.budget, display=display),
            batch=recipe.search.batch,
            progress=lambda done, budget, latest: advance(
                done, budget, progress_in_words(plan.words, fronts, archive.measurements())
            ),
        )
    return written(_results(plan, archive.measurements(), fronts), files)


def _searcher(plan: TablePlan) -> Searcher:
    """The searcher of the recipe; raises `RecipeError` if it needs more than a table has."""
    name = plan.recipe.search.searcher
    try:
        return searcher_named(name, plan.problem, seed=plan.recipe.seed)
    except ValueError as error:
        raise RecipeError(f"search.searcher = {name!r}: {error}") from error


def _require_same_figures(table: Tabular, archive: Archive) -> None:
    """Refuse a table that was changed after some of its networks were archived.

    The search would otherwise mix old and new figures.
    """
    known = archive.evaluations()
    if not known:
        return
    again = flat(table.evaluator()([evaluation.genotype for evaluation in known]))
    changed = [
        now.genotype
        for now, before in zip(again, known, strict=True)
        if now.metrics != before.metrics
    ]
    if changed:
        raise TableError(
            f"table {table.name!r} is another one than when this run began: {len(changed)} of "
            f"{len(known)} evaluated networks have other figures, first {changed[0]}; choose "
            "another folder with --out"
        )


def _results(plan: TablePlan, measured: Measurements, fronts: Mapping[str, KnownFront]) -> Results:
    recipe, table = plan.recipe, plan.table
    predictor = report_predictor(plan.problem)
    points = points_of(measured, predictor, batch=recipe.search.batch)
    found = Findings(table.space, measured, predictor, seed=recipe.seed)
    notes = [f"{capital(table.words.name)}: {table.loss.note}."] if table.loss.note else []
    if table.repeats:
        notes.append(f"{table.repeats} rows of networks that have another row were averaged.")
    notes += [table.advice] if table.advice else []
    return Results(
        run=recipe.name,
        seed=recipe.seed,
        space=SpaceSummary(table.name, len(table.space.choices), str(table.space.size)),
        words=plan.words,
        task=f"Table {table.name}",
        recipe=recipe.model_dump(mode="json"),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        budget=min(recipe.search.budget, table.space.size),
        table=TableSummary(table.rows, table.source, tuple(notes)),
        evaluated=points,
        targets=tuple(
            _target(plan, target, found, points, fronts.get(target.name)) for target in plan.targets
        ),
    )


def _target(
    plan: TablePlan,
    target: TableTargetSection,
    found: Findings,
    points: Sequence[Point],
    front: KnownFront | None,
) -> TargetResult:
    goal = next(goal for goal in plan.problem.goals if goal.name == target.name)
    made = replace(found.on(goal, Provenance("imported", goal.name)), tolerance=target.tolerance)
    costs = plan.table.devices[goal.name]
    used = dict.fromkeys([*goal.objectives, *goal.limits])
    notes = [f"{name}: {costs[name].note}." for name in used if costs[name].note]
    if front is not None:
        notes.append(front.in_words(found.measured, plan.words))
        made = replace(made, exact_share=front.share(found.measured))
    best = chosen(goal, found.measured, tolerance=target.tolerance)
    if best is None:
        return replace(made, notes=(NONE_WITHIN, *notes))
    row, known = np.array([best.genotype]), plan.table.looked_up(goal)
    predicted = next(p.predicted for p in points if p.genotype == best.genotype)
    pick = Chosen(
        best.genotype,
        Comparison(predicted, Estimate(best.error)),
        {name: float(cost(row)[0]) for name, cost in known.costs.items()},
        description=plan.table.space.describe(best.genotype),
    )
    return replace(made, chosen=pick, notes=tuple(notes))
