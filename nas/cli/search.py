"""The command `nas search`: a recipe's search, or a search for other devices in a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.trust import Trust
from nas.terminal.display import say
from nas.terminal.interrupts import loading
from nas.terminal.plain import terminal_display

Source = Annotated[Path | None, typer.Argument(help="The recipe, a TOML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE over the recipe, such as search.budget=400."),
]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder.")]
Origin = Annotated[
    Path | None,
    typer.Option("--from", help="Instead of a recipe: a searched run's folder or archive."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", help="With --from: a device to search for; may be repeated."),
]
Evaluations = Annotated[
    int, typer.Option("--evaluations", min=0, help="With --from: new evaluations allowed.")
]
Databases = Annotated[
    list[str] | None,
    typer.Option("--archive", help="With --from: the database that the run archived in."),
]


def search_command(
    recipe: Source = None,
    set_: Overrides = None,
    out: Out = None,
    source: Origin = None,
    targets: Targets = None,
    evaluations: Evaluations = 0,
    databases: Databases = None,
    _trust: Trust = False,
) -> None:
    """Search with a trained supernet; with --from, search a finished run for other devices."""
    with loading():
        from nas.recipe.recipe import RecipeError, load_recipe
        from nas.report.summary import told
        from nas.run.folder import RunFolder
        from nas.run.pipeline import run_steps
        from nas.run.retarget import reused

    if recipe is not None and source is None:
        if targets or evaluations or databases:
            raise RecipeError(
                "--target, --evaluations and --archive go with --from; a recipe names its own"
            )
        made = load_recipe(recipe, set_ or ())
        with terminal_display() as display:
            run_steps(made, ["search"], folder=out or recipe.parent / made.name, display=display)
        return
    if source is None or recipe is not None:
        raise RecipeError("give either a recipe or --from RUN, for example `nas search mine.toml`")
    if not targets:
        raise RecipeError("--from needs --target, a shipped target (`nas targets`) or a file")
    origin = source.parent if source.is_file() else source
    folder = out or origin.with_name(f"{origin.name}-{'-'.join(Path(t).stem for t in targets)}")
    with terminal_display() as display:
        results = reused(
            source,
            targets,
            folder=folder,
            evaluations=evaluations,
            overrides=set_ or (),
            databases=databases or (),
            display=display,
        )
    for part in told(results):
        say(part)
    say(f"report: {RunFolder(folder).report}")
