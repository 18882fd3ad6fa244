"""The command `nas profile`: latency tables, measured on this machine or elsewhere."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path
from typing import Annotated

import typer

from nas.terminal.interrupts import loading
from nas.terminal.plain import terminal_display

Source = Annotated[Path, typer.Argument(help="A recipe (TOML), or a space that `to_json` wrote.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE over the recipe, such as space.kernels=[3]."),
]
Base = Annotated[
    str | None,
    typer.Option(help="Whose operators, bits and fusion to measure: a name or a .toml file."),
]
BackendName = Annotated[
    str | None, typer.Option(help="onnxruntime, torch, torch-compiled, or elsewhere.")
]
Device = Annotated[str | None, typer.Option(help="cpu, or for torch cuda.")]
Dtype = Annotated[
    str | None, typer.Option(help="What 32 bits are: float32, or for torch bfloat16.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Inside one kernel.")]
Budget = Annotated[float | None, typer.Option(min=0, help="Time for each kernel.")]
Sample = Annotated[
    int | None, typer.Option(min=1, help="Measure so many kernels and predict the others.")
]
Out = Annotated[
    Path | None, typer.Option(help="TABLE.csv; a run folder; the folder to write for elsewhere.")
]
Read = Annotated[Path | None, typer.Option(help="Take the results of a folder measured elsewhere.")]
Seams = Annotated[
    bool | None,
    typer.Option("--seams/--no-seams", help="Also time kernels together with their neighbours."),
]
Calibrate = Annotated[
    int | None,
    # The minimum of `nas.targets.correction.fit`, which is not imported since it loads numpy.
    typer.Option(min=5, help="Whole networks to correct sums of kernels with."),
]


def profile_command(
    source: Source,
    set_: Overrides = None,
    target: Base = None,
    backend: BackendName = None,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    budget_ms: Budget = None,
    sample: Sample = None,
    out: Out = None,
    read: Read = None,
    seams: Seams = None,
    calibrate: Calibrate = None,
) -> None:
    """Measure a latency table: for a recipe's run, or for any space, target and device.

    With a recipe and no options, the command measures this machine and writes into the run folder.
    It may be stopped at any time; run it again and it continues.
    """
    with loading():
        from nas.cli.measured_table import Options, asked_for, for_run, is_table

    options = Options(
        target, backend, device, dtype, threads, budget_ms, sample, read, seams, networks=calibrate
    )
    with terminal_display() as display:
        others = astuple(replace(options, seams=None, networks=None))
        if not any(option is not None for option in others) and not is_table(out):
            more = [] if calibrate is None else [f"compute.profile_networks={calibrate}"]
            more += [] if seams is None else [f"compute.profile_seams={str(seams).lower()}"]
            for_run(source, [*(set_ or []), *more], out=out, display=display)
        else:
            asked_for(source, set_ or [], out=out, options=options, display=display)
