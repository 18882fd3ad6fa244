"""The command `nas fit`: a trained network of the user's, made smaller and faster for devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.terminal.display import say
from nas.terminal.interrupts import loading
from nas.terminal.plain import terminal_display

Source = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="FILE.py:FUNCTION, MODULE:FUNCTION, torchvision:NAME or timm:NAME; a file is run.",
    ),
]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="A file of tensors: .safetensors, .npz, .pt.")
]
Data = Annotated[
    Path,
    typer.Option("--data", help="A folder, a file of arrays, or a table, as for nas init."),
]
Targets = Annotated[list[str] | None, typer.Option("--target", help="A device; may be repeated.")]
Drop = Annotated[
    float | None,
    typer.Option(
        "--allowed-drop",
        min=0,
        help="How much worse than the float network the answer may be, in the error's unit.",
    ),
]
Shares = Annotated[
    list[float] | None,
    typer.Option(
        "--channels", help="A share of its channels that a layer may keep; may be repeated."
    ),
]
RankOptions = Annotated[
    list[int] | None,
    typer.Option("--ranks", help="A rank of branches beside layers; may be repeated."),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="Epochs in which the weights learn all that is searched."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE in the recipe, such as model.mean=[0.49,0.48,0.45]."),
]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the folder, if any.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is most likely.")]


def fit_command(
    model: Source,
    data: Data,
    weights: Weights = None,
    targets: Targets = None,
    allowed_drop: Drop = None,
    channels: Shares = None,
    ranks: RankOptions = None,
    epochs: Epochs = None,
    set_: Settings = None,
    out: Out = None,
    resume: Resume = False,
    yes: Yes = False,
) -> None:
    """Make a trained network of yours smaller and faster, for each device in its own way."""
    with loading():
        from nas.cli.prompting import asker
        from nas.drafting.own_model import OwnAsked, model_recipe
        from nas.report.summary import told
        from nas.run.folder import RunFolder
        from nas.run.pipeline import run

    asked = OwnAsked(
        model,
        weights,
        data,
        tuple(targets or ()),
        allowed_drop,
        tuple(set_ or ()),
        structure={"channels": channels, "ranks": ranks, "epochs": epochs},
    )
    recipe = model_recipe(asked, ask=asker(yes=yes))
    folder = out or Path(recipe.name)
    with terminal_display() as display:
        results = run(recipe, folder=folder, resume=resume, display=display)
    for part in told(results):
        say(part)
    say(f"report: {RunFolder(folder).report}")
