"""The command `nas targets transfer`: a target from known targets and about ten measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.terminal.display import say
from nas.terminal.interrupts import loading

if TYPE_CHECKING:
    from search_spaces.space import SearchSpace


def transfer(
    source: Annotated[
        Path, typer.Argument(help="A recipe (TOML), or a space that `to_json` wrote.")
    ],
    known: Annotated[
        list[str], typer.Option(help="A known target, by name or .toml file; give several.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; its name is the target's.")],
    count: Annotated[int, typer.Option(min=3, help="How many networks to measure.")] = 10,
) -> None:
    """Choose the networks whose latency tells most about a new device, and write them to a folder.

    Enter their latencies; then the target file in the folder can be used like any other.
    """
    with loading():
        from nas.profiling.transfer_folder import MEASURED, NETWORKS, write_transfer

    path = write_transfer(out, space=_space(source), known=known, count=count)
    say(
        f"{path}: time the {count} networks in {out / NETWORKS} on the new device, enter the "
        f"milliseconds into the last column of {out / MEASURED}, and name {path} in a recipe.",
    )


def _space(source: Path) -> SearchSpace:
    with loading():
        from nas.recipe.recipe import load_recipe
        from search_spaces.space import SearchSpace

    if source.suffix == ".json":
        return SearchSpace.read(source)
    recipe = load_recipe(source)
    return recipe.space.build(recipe.task.load())
