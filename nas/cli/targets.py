"""The command `nas targets`: lists targets, checks a target file, prints the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nas.terminal.display import TerminalTable, dump, say
from nas.terminal.interrupts import loading

targets_app = typer.Typer(
    help="List targets, check a target file, print what such a file may hold.",
    invoke_without_command=True,
)


@targets_app.callback()
def bare(context: typer.Context) -> None:
    """List the shipped targets; check a target file; print the schema of target files."""
    if context.invoked_subcommand is None:
        list_targets()


@targets_app.command("list")
def list_targets() -> None:
    """List the shipped targets."""
    with loading():
        from nas.targets import available, load_target

    table = TerminalTable(("target", "device", "figures", "costs"))
    for name in available():
        target = load_target(name)
        costs = ", ".join(target.kernel_costs)
        table.add_row(name, target.device, target.provenance, costs)
    say(table)


@targets_app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of target files, for editors."""
    dump(schema_text())


def schema_text() -> str:
    """The JSON Schema of target files, as `docs/target.schema.json` holds it."""
    with loading():
        from nas.targets.schema import TargetFile

    return json.dumps(TargetFile.model_json_schema(), indent=2) + "\n"


@targets_app.command("check")
def check(
    file: Annotated[str, typer.Argument(help="A target file, or the name of a shipped target.")],
    recipe: Annotated[Path | None, typer.Option(help="Check that its space is covered.")] = None,
    space: Annotated[
        Path | None, typer.Option(help="The same for a space that `to_json` wrote.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="A table in place of the one that the file names.")
    ] = None,
) -> None:
    """Check a target file and its table, and say which kernels they cover."""
    if recipe is not None and space is not None:
        raise typer.BadParameter("give --recipe or --space, not both")
    with loading():
        from nas.cli.target_facts import about, covered, measuring, space_of
        from nas.targets import load_target
        from nas.targets.coverage import of_space

    target = load_target(file, table=table)
    for words in about(target):
        say(words)
    source = recipe or space
    if source is not None:
        searched = space_of(source, is_recipe=recipe is not None)
        coverage = of_space(target, searched)
        for words in covered(coverage, searched.name):
            say(words)
        if coverage.missing:
            say(f"measure them with: {measuring(target, file, source)}")
