"""The command `nas init`: a first recipe, for the user's data or from the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from nas.terminal.display import TerminalTable, say
from nas.terminal.interrupts import loading

Data = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA",
        help="A folder of images, an .npz file or folder of .npy, a table, a text; with --data, a "
        "trained network, such as mymodel.py:build, which is run.",
    ),
]
OwnData = Annotated[Path | None, typer.Option("--data", help="For a trained network: its data.")]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="For a trained network: a file of its tensors.")
]
Drop = Annotated[
    float | None,
    typer.Option("--allowed-drop", min=0, help="For a trained network: how much it may lose."),
]
Shares = Annotated[
    list[float] | None,
    typer.Option("--channels", help="For a trained network: a share that layers may keep."),
]
RankOptions = Annotated[
    list[int] | None,
    typer.Option("--ranks", help="For a trained network: a rank of branches beside layers."),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="For a trained network: epochs from its weights."),
]
ExampleName = Annotated[
    str | None, typer.Option("--example", help="Instead of DATA: a shipped recipe, by its name.")
]
Out = Annotated[Path | None, typer.Option("--out", help="The recipe to write.")]
Targets = Annotated[
    list[str] | None, typer.Option("--target", help="A device to search for; may be repeated.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE in the recipe, such as task.image_size=64."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is most likely.")]
Listing = Annotated[bool, typer.Option("--list", help="List the shipped examples and stop.")]


def init_command(
    data: Data = None,
    example: ExampleName = None,
    out: Out = None,
    targets: Targets = None,
    set_: Settings = None,
    yes: Yes = False,
    list_: Listing = False,  # a flag of the command line
    own_data: OwnData = None,
    weights: Weights = None,
    allowed_drop: Drop = None,
    channels: Shares = None,
    ranks: RankOptions = None,
    epochs: Epochs = None,
) -> None:
    """Write a first recipe: for your data or your trained network, or one of the examples."""
    structure = {"channels": channels, "ranks": ranks, "epochs": epochs}
    for_own = (own_data, weights, allowed_drop, *structure.values())
    own = any(one is not None for one in for_own)
    if list_:
        say(_examples())
    elif own and example is None:
        _own(
            data,
            own_data,
            out,
            how=(weights, allowed_drop, targets or (), set_ or (), structure),
            yes=yes,
        )
    elif example is not None:
        _bring(example, out, alone=data is None and not (targets or set_ or own))
    else:
        _draft(data, out, targets=targets or (), overrides=set_ or (), yes=yes)


def _examples() -> TerminalTable:
    with loading():
        from nas.drafting.examples import EXAMPLES

    table = TerminalTable(("example", "what it does"))
    for name, held in EXAMPLES.items():
        table.add_row(name, held.about)
    return table


def _bring(name: str, out: Path | None, *, alone: bool) -> None:
    with loading():
        from nas.drafting.examples import absent, brought
        from nas.settings.toml_file import RecipeError

    if not alone:
        raise RecipeError(
            "--example brings a recipe as it is, so DATA, --target and --set have no effect; "
            "leave them out, or give them to `nas run`"
        )
    first, *others = brought(name, out)
    say(f"wrote {', '.join(map(str, (first, *others)))}")
    for missing in absent(first):
        say(f"{missing} is not there: enter your file, or give it with --set to each command")
    say(f"now: python {first}" if first.suffix == ".py" else f"now: nas run {first}")


def _draft(
    data: Path | None,
    out: Path | None,
    *,
    targets: Sequence[str],
    overrides: Sequence[str],
    yes: bool,
) -> None:
    with loading():
        from nas.cli.prompting import asker
        from nas.drafting.draft import drafted

    ask = asker(yes=yes)
    if data is None:
        data = Path(ask("Where are your data?", key="DATA, or --example NAME (see --list)"))
    made = drafted(data, out=out, targets=targets, overrides=overrides, ask=ask)
    task = made.task
    inputs = ", ".join(f"{each.name} {each.shape}" for each in task.inputs)
    sizes = ", ".join(f"{count} {split}" for split, count in task.sizes().items())
    say(f"{task.name}: {inputs} -> {task.output}; {sizes} samples; a machine with {made.machine}")
    say(f"wrote {made.path}, which you can edit")
    say(f"now: nas spaces {made.path}, then: nas run {made.path}")


def _own(
    source: Path | None,
    data: Path | None,
    out: Path | None,
    *,
    how: tuple[Path | None, float | None, Sequence[str], Sequence[str], Mapping[str, object]],
    yes: bool,
) -> None:
    with loading():
        from nas.cli.prompting import asker
        from nas.drafting.own_model import OwnAsked, drafted_model
        from nas.recipe.recipe import RecipeError

    if source is None or data is None:
        raise RecipeError(
            "--data, --weights, --allowed-drop, --channels, --ranks and --epochs are for a trained "
            "network: give both it and its data, such as nas init mymodel.py:build --data photos/"
        )
    weights, drop, targets, overrides, structure = how
    asked = OwnAsked(
        str(source), weights, data, tuple(targets), drop, tuple(overrides), structure=structure
    )
    path, plan = drafted_model(asked, out=out, ask=asker(yes=yes))
    error = plan.task.criterion.shown.text(plan.float_error)
    say(f"{source}: the float network has {plan.task.criterion.shown.name} {error}")
    say(f"wrote {path}, which you can edit")
    say(f"now: nas spaces {path}, then: nas run {path}")
