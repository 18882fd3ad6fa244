"""The pipeline of a run: its steps in order; a step whose result exists already is skipped.

Modules beyond planning and training are imported only when their step begins, so that a plan, or
an error in the plan, is shown early.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from nas.evaluation.measurements import Measurements
from nas.files.durable import write_atomic
from nas.recipe.model_recipe import ModelRecipe
from nas.recipe.recipe import Recipe
from nas.recipe.table_recipe import AnyRecipe, TableRecipe
from nas.report.data import Results
from nas.run.folder import RunFolder, RunFolderError
from nas.run.plan import Plan, overview, prepare
from nas.run.sources import compared
from nas.run.steps import preflight
from nas.run.steps.estimating import foresee
from nas.run.steps.this_machine import profiled
from nas.run.steps.training import supernet_of, trained, use_threads
from nas.terminal.display import Display, Silent, TerminalTable
from supernets.supernet import Supernet


def _search(plan: Plan, display: Display) -> None:
    _searched(plan, supernet_of(plan), display)


def _searched(plan: Plan, supernet: Supernet, display: Display) -> Measurements:
    from nas.run.steps.searching import searched

    return searched(plan, supernet, display).measurements()


def _export(plan: Plan, display: Display) -> Results:
    return _shipped(plan, *_found(plan), display)


def _switch(plan: Plan, display: Display) -> None:
    from nas.run.steps.switching import switched

    switched(plan, *_found(plan), display)


def _found(plan: Plan) -> tuple[Supernet, Measurements]:
    """The supernet and the evaluations of earlier steps."""
    from nas.run.steps.searching import archive_of

    supernet, measured = supernet_of(plan), archive_of(plan).measurements()
    if not len(measured):
        raise RunFolderError(
            f"{plan.files.path} holds no evaluations to choose from; run `nas search` first"
        )
    return supernet, measured


def _shipped(plan: Plan, supernet: Supernet, measured: Measurements, display: Display) -> Results:
    """The results of the run, after the chosen subnets are exported and all files are written."""
    from nas.run.steps.exporting import exported
    from nas.run.steps.reporting import reported

    shipped = exported(plan, supernet, measured, display)
    with display.stage("report") as advance:
        made = reported(plan, supernet, measured, shipped)
        advance(1, 1, "")
    return made


# What can be asked for alone.
STEPS: dict[str, Callable[[Plan, Display], object]] = {
    "train": trained,
    "search": _search,
    "export": _export,
    "switching": _switch,
}
WHOLE = ("train", "search", "export")
"""The steps of a whole run."""


def run(
    recipe: AnyRecipe, *, folder: Path, resume: bool = False, display: Display | None = None
) -> Results:
    """The results of a whole run of `recipe`, written to `folder`.

    Args:
        recipe: The recipe.
        folder: The run folder; all files are written there.
        resume: Whether to continue the run in `folder`; otherwise the folder must be new.
        display: The display for progress; by default, none is shown.
    """
    shown = display or Silent()
    with RunFolder(folder).open(recipe, resume=resume) as files:
        if isinstance(recipe, TableRecipe):
            from nas.run.steps.tabulating import searched_table

            return searched_table(recipe, files, shown)
        if isinstance(recipe, ModelRecipe):
            from nas.run.steps.fitting import fitted_model

            return fitted_model(recipe, files, shown)
        plan = _prepared(recipe, files, shown, steps=WHOLE)
        supernet = trained(plan, shown)
        return _shipped(plan, supernet, _searched(plan, supernet, shown), shown)


def run_steps(recipe: Recipe, steps: Sequence[str], *, folder: Path, display: Display) -> None:
    """Run some of `STEPS`, by name, in a new or existing run folder."""
    with RunFolder(folder).open(recipe, resume=True) as files:
        plan = _prepared(recipe, files, display, steps=steps)
        for step in steps:
            STEPS[step](plan, display)


def previewed(
    recipe: Recipe, files: RunFolder, say: Callable[[str | TerminalTable], None], display: Display
) -> None:
    """Show what a run would search and how long it would take; nothing is written.

    Args:
        recipe: The recipe.
        files: The folder of the run, if it exists; what it holds takes no time.
        say: Shows the data, the space and the targets.
        display: Shows how long the run would take, if it is timed.
    """
    plan = prepare(recipe, files)
    use_threads(plan)
    for shown in overview(plan):
        say(shown)
    foresee(plan, display, steps=WHOLE)


def _prepared(
    recipe: Recipe, files: RunFolder, display: Display, *, steps: Collection[str]
) -> Plan:
    """The complete plan: read, checked and shown, with this machine measured if needed."""
    searching = "search" in steps
    plan = prepare(recipe, files)
    use_threads(plan)
    for shown in overview(plan):
        display.say(shown)
    for sentence in compared(plan):
        display.say(sentence)
    foresee(plan, display, steps=steps)
    preflight.check(plan, searching=searching)
    write_atomic(files.space, plan.space.to_json().encode())
    plan = profiled(plan, display)
    if searching:
        from nas.run.steps.offering import RunContext
        from nas.run.steps.searching import searcher_of

        searcher_of(plan, RunContext(plan, None, None))  # so that no fault of it is found late
    return plan
