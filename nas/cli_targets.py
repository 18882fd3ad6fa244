"""The command line's `nas targets`: what is shipped, what a file covers, what it may hold."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas.targets import available, load_target
from nas.targets.schema import TargetFile

targets_app = typer.Typer(
    help="List targets, check a target file, print what such a file may hold.",
    invoke_without_command=True,
)
console = Console()


@targets_app.callback()
def bare(context: typer.Context) -> None:
    """List the targets that come with the engine."""
    if context.invoked_subcommand is None:
        list_targets()


@targets_app.command("list")
def list_targets() -> None:
    """List the targets that come with the engine."""
    table = Table("target", "device", "figures", "costs")
    for name in available():
        target = load_target(name)
        table.add_row(name, Text(target.device), target.provenance, ", ".join(target.kernel_costs))
    console.print(table)


@targets_app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of target files, for editors."""
    typer.echo(schema_text(), nl=False)


def schema_text() -> str:
    """The JSON Schema of target files, as `docs/target.schema.json` holds it."""
    return json.dumps(TargetFile.model_json_schema(), indent=2) + "\n"
