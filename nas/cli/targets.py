"""The command `nas targets`: lists and checks targets, writes templates, prints the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nas.terminal.display import TerminalTable, dump, say
from nas.terminal.interrupts import loading

targets_app = typer.Typer(
    help="List targets, check a target file, write the rows that its table lacks.",
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
        from nas.cli.target_facts import about, covered, remedy, space_of
        from nas.targets import TargetError, legal, load_target
        from nas.targets.coverage import of_space

    target = load_target(file, table=table)
    for words in about(target):
        say(words)
    source = recipe or space
    if source is None:
        return
    searched = space_of(source)
    coverage = of_space(target, searched)
    for words in covered(coverage, searched.name):
        say(words)
    legal(searched, [target])
    if coverage.missing:
        raise TargetError(
            f"{len(coverage.missing)} of {coverage.wanted} kernels have no figure; "
            f"{remedy(target, file, source)}"
        )


@targets_app.command("template")
def template(
    source: Annotated[Path, typer.Argument(help="A recipe, or a space that `to_json` wrote.")],
    target: Annotated[str, typer.Option(help="The target file whose table lacks figures.")],
    out: Annotated[Path, typer.Option(help="The table to write, a CSV file.")],
) -> None:
    """Write a latency table with an empty row for every kernel of a space without a figure."""
    with loading():
        from nas.cli.target_facts import space_of
        from nas.targets import load_target
        from nas.targets.template import write_template

    described = load_target(target, unmeasured=True)
    known, empty = write_template(out, described, space_of(source))
    if not empty:
        say(f"nothing to fill in: the table of {target} has a row for every kernel of {source}")
        return
    say(f"{out}: {empty} rows to fill in, and {known} that the table of {target} has already")
    say(
        "enter latency_ms, the milliseconds of a kernel for one sample; spread_ms (standard "
        "deviation) and count (repetitions) may stay empty"
    )
    kind = "--space" if source.suffix == ".json" else "--recipe"
    say(f"then: nas targets check {target} --table {out} {kind} {source}")
    say(f"{target} reads the table that its key `table` names; move the finished table there")
