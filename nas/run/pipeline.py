"""The whole run: its steps in order, each skipped where its result is there already.

What a step needs beyond planning and training is loaded when it is its turn, so that a plan, and
what is wrong with it, is shown early.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nas.durable import write_atomic
from nas.evaluation.measurements import Measurements
from nas.recipe.recipe import Recipe
from nas.recipe.table_recipe import AnyRecipe, TableRecipe
from nas.report.data import Results
from nas.run.folder import RunFolder, RunFolderError
from nas.run.plan import Plan, overview, prepare
from nas.run.steps import preflight
from nas.run.steps.estimating import estimate
from nas.run.steps.this_machine import profiled
from nas.run.steps.training import supernet_of, trained, use_threads
from nas.terminal.display import Display, Silent
from supernets.supernet import Supernet


def _search(plan: Plan, display: Display) -> None:
    _searched(plan, supernet_of(plan), display)


def _searched(plan: Plan, supernet: Supernet, display: Display) -> Measurements:
    from nas.run.steps.searching import searched

    return searched(plan, supernet, display).measurements()


def _export(plan: Plan, display: Display) -> Results:
    from nas.run.steps.searching import archive_of

    supernet, measured = supernet_of(plan), archive_of(plan).measurements()
    if not len(measured):
        raise RunFolderError(
            f"{plan.files.path} holds no evaluations to choose from; run `nas search` first"
        )
    return _shipped(plan, supernet, measured, display)


def _shipped(plan: Plan, supernet: Supernet, measured: Measurements, display: Display) -> Results:
    """The results of the run, the chosen subnets exported and all written to its folder."""
    from nas.run.steps.exporting import exported
    from nas.run.steps.reporting import reported

    return reported(plan, supernet, measured, exported(plan, supernet, measured, display))


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
            from nas.run.steps.tabulating import searched_table

            return searched_table(recipe, files, shown)
        plan = _prepared(recipe, files, shown, searching=True)
        supernet = trained(plan, shown)
        return _shipped(plan, supernet, _searched(plan, supernet, shown), shown)


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
