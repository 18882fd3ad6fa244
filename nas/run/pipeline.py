"""The whole run: its steps in order, each skipped where its result is there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nas.durable import write_atomic
from nas.recipe.recipe import Recipe
from nas.recipe.table_recipe import AnyRecipe, TableRecipe
from nas.report.data import Results
from nas.run.folder import RunFolder, RunFolderError
from nas.run.plan import Plan, overview, prepare
from nas.run.steps import preflight
from nas.run.steps.estimating import estimate
from nas.run.steps.exporting import exported
from nas.run.steps.profiling import profiled
from nas.run.steps.reporting import reported
from nas.run.steps.searching import archive_of, searched, use_threads
from nas.run.steps.tabulating import searched_table
from nas.run.steps.training import supernet_of, trained
from nas.terminal.display import Display, Silent


def _search(plan: Plan, display: Display) -> None:
    searched(plan, supernet_of(plan), display)


def _export(plan: Plan, display: Display) -> Results:
    supernet, measured = supernet_of(plan), archive_of(plan).measurements()
    if not len(measured):
        raise RunFolderError(
            f"{plan.files.path} holds no evaluations to choose from; run `nas search` first"
        )
    shipped = exported(plan, supernet, measured, display)
    return reported(plan, supernet, measured, shipped)


# What can be asked for alone.
STEPS: dict[str, Callable[[Plan, Display], object]] = {
    "train": trained,
    "search": _search,
    "export": _export,
}


def run(
    recipe: AnyRecipe, *, folder: Path, resume: bool = False, display: Display | None = None
) -> Results:
    """Do everything that `recipe` asks for, in `folder`, and give what was found.

    Args:
        recipe: What to do.
        folder: The run folder; everything written goes there.
        resume: Whether to go on where a run in `folder` stopped; else the folder must be new.
        display: Where to show progress; nowhere by default.
    """
    shown = display or Silent()
    with RunFolder(folder).open(recipe, resume=resume) as files:
        if isinstance(recipe, TableRecipe):
            return searched_table(recipe, files, shown)
        plan = _prepared(recipe, files, shown, searching=True)
        supernet = trained(plan, shown)
        measured = searched(plan, supernet, shown).measurements()
        shipped = exported(plan, supernet, measured, shown)
        return reported(plan, supernet, measured, shipped)


def run_steps(recipe: Recipe, steps: Sequence[str], *, folder: Path, display: Display) -> None:
    """Do some of `STEPS`, by name, in a run folder, new or not."""
    with RunFolder(folder).open(recipe, resume=True) as files:
        plan = _prepared(recipe, files, display, searching="search" in steps)
        for step in steps:
            STEPS[step](plan, display)


def _prepared(recipe: Recipe, files: RunFolder, display: Display, *, searching: bool) -> Plan:
    """The plan, shown and complete: read, checked, this machine measured where that is needed."""
    plan = prepare(recipe, files)
    use_threads(plan)
    for table in overview(plan):
        display.say(table)
    display.say(estimate(plan))
    preflight.check(plan, searching=searching)
    write_atomic(files.space, plan.space.to_json().encode())
    return profiled(plan, display)
