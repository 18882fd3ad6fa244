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
    rows = [
        (shown, name, Parts(shown).where(name), _keys(shown, name) if kind else "")
        for shown in (SHIPPED if kind is None else (kind,))
        for name in Parts(shown)
    ]
    keyed = any(keys for *_, keys in rows)
    table = TerminalTable(("kind", "name", "where", *(["keys in a recipe"] if keyed else [])))
    for *row, keys in rows:
        table.add_row(*row, *([keys] if keyed else []))
    say(table)


def _keys(kind: str, name: str) -> str:
    """The options of a part that a recipe can set beside its name."""
    with loading():
        from nas.recipe.sections import SpaceSection, TaskSection, section

    for base in (SpaceSection, TaskSection):
        if kind == base.PART:
            return ", ".join(key for key in section(base, name).model_fields if key != base.KEY)
    return ""
