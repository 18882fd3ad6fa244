"""The command `nas targets new`: a target file for a device of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nas.terminal.display import say
from nas.terminal.interrupts import loading

Out = Annotated[Path, typer.Argument(help="The target file to write, NAME.toml.")]
Device = Annotated[str | None, typer.Option(help="The hardware, in words.")]
Runtime = Annotated[str | None, typer.Option(help="The software that runs networks, in words.")]
Figures = Annotated[
    str | None, typer.Option(help="measured, simulated, imported (a table), or analytical.")
]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", help="Weight x input, as int4xint8; may be repeated."),
]
Otherwise = Annotated[
    str | None, typer.Option(help="Other formats: container (run in wider ones), or refuse.")
]
Flash = Annotated[float | None, typer.Option(help="Bytes of flash for the model.")]
Ram = Annotated[float | None, typer.Option(help="Bytes of RAM for activations.")]
Total = Annotated[float | None, typer.Option(help="Bytes of one memory for both.")]
Rates = Annotated[
    list[str] | None,
    typer.Option("--gmacs-per-s", help="int8xint8=NUMBER: the peak rate; may be repeated."),
]
Bandwidth = Annotated[
    float | None, typer.Option("--bandwidth-gb-per-s", help="10^9 bytes per second.")
]
Overhead = Annotated[float | None, typer.Option(help="Microseconds for each kernel.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is most likely.")]


def new_target(
    out: Out,
    device: Device = None,
    runtime: Runtime = None,
    figures: Figures = None,
    formats: Formats = None,
    otherwise: Otherwise = None,
    flash_bytes: Flash = None,
    ram_bytes: Ram = None,
    total_bytes: Total = None,
    gmacs_per_s: Rates = None,
    bandwidth_gb_per_s: Bandwidth = None,
    overhead_us: Overhead = None,
    yes: Yes = False,
) -> None:
    """Write a target file with comments for a device of your own; what is not given is asked."""
    with loading():
        from nas.cli.prompting import asker
        from nas.drafting.target_draft import ANALYTICAL, target_draft

    given: dict[str, Any] = {
        "device": device,
        "runtime": runtime,
        "figures": figures,
        "format": formats,
        "otherwise": otherwise,
        "flash_bytes": flash_bytes,
        "ram_bytes": ram_bytes,
        "total_bytes": total_bytes,
        "gmacs_per_s": None if gmacs_per_s is None else dict(map(_rate, gmacs_per_s)),
        "bandwidth_gb_per_s": bandwidth_gb_per_s,
        "overhead_us": overhead_us,
    }
    known = {key: value for key, value in given.items() if value is not None}
    provenance = target_draft(out, known, ask=asker(yes=yes))
    say(f"wrote {out}, which you can edit; a recipe names it under [[targets]]")
    if provenance != ANALYTICAL:
        table = out.with_suffix(".csv")
        say(f"latencies to enter: nas targets template RECIPE --target {out} --out {table}")
        say(
            "or, if the device runs onnxruntime, kernels to time there: nas profile RECIPE "
            f"--target {out} --backend elsewhere --out FOLDER"
        )
    say(f"then: nas targets check {out} --recipe RECIPE")


def _rate(text: str) -> tuple[str, float]:
    """The pair of formats and the number of an option such as `int8xint8=0.125`."""
    pair, _, number = text.partition("=")
    try:
        return pair, float(number)
    except ValueError as error:
        raise typer.BadParameter(f"--gmacs-per-s {text}: give int8xint8=NUMBER") from error
