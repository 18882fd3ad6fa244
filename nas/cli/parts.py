"""The command `nas parts`: lists the parts that a recipe or the command line can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.parts import SHIPPED, Parts
from nas.terminal.display import TerminalTable, say
from nas.terminal.interrupts import loading

KINDS = ", ".join(SHIPPED)


def parts_command(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help=f"One of {KINDS}; else all.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="List the parts of this recipe's own modules too.")
    ] = None,
) -> None:
    """List the parts that have names: those shipped, installed, and your own."""
    if recipe is not None:
        with loading():
            from nas.recipe.recipe import with_modules
            from nas.settings.toml_file import read_recipe

        with_modules(read_recipe(recipe), str(recipe), recipe.parent)
    header = ("kind", "name", "where") if kind is None else ("name", "where", "keys in a recipe")
    table = TerminalTable(header)
    for shown in SHIPPED if kind is None else (kind,):
        known = Parts(shown)
        for name in known:
            found = (name, known.where(name))
            table.add_row(*((shown, *found) if kind is None else (*found, _keys(shown, name))))
    say(table)


def _keys(kind: str, name: str) -> str:
    """The options of a part that a recipe can set beside its name."""
    with loading():
        from nas.recipe.sections import SpaceSection, TaskSection, section

    for base in (SpaceSection, TaskSection):
        if kind == base.PART:
            return ", ".join(key for key in section(base, name).model_fields if key != base.KEY)
    return ""
