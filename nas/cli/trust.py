"""The option `--trust` of commands that read run folders."""

from __future__ import annotations

from typing import Annotated

import typer

from nas.settings.own_modules import trusting


def _entered(context: typer.Context, trust: bool) -> bool:  # as typer calls it
    context.with_resource(trusting(trust))
    return trust


Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        callback=_entered,
        help="Import the modules that the recipe of a run folder names; they run code.",
    ),
]
"""The type of a parameter for the option, whose callback acts for the whole command."""
