"""The command `nas sweep`: many runs on a Ray cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from nas.terminal.display import TerminalTable, say
from nas.terminal.interrupts import loading
from nas.terminal.plain import terminal_display


def sweep_command(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes, TOML files.")],
    seeds: Annotated[str, typer.Option(metavar="0,1,2", help="Seeds; else the recipes' own.")] = "",
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", help="Devices in place of the recipes'; may be repeated."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE over every recipe.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where run folders and sweep.csv go.")] = Path("sweep"),
    cpus: Annotated[float, typer.Option(help="CPUs that each run reserves.")] = 1.0,
    gpus: Annotated[float, typer.Option(help="GPUs that each run reserves; may be part.")] = 0.0,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The cluster's; by default one of this machine."),
    ] = None,
) -> None:
    """Run recipes x seeds, each for all devices, on a Ray cluster; call again to continue."""
    with loading():
        from nas.evaluation.crew import ClusterError
        from nas.run.sweep import jobs, summary, sweep, write_summary

    todo = jobs(
        recipes, out=out, seeds=_numbers(seeds), targets=targets or (), overrides=set_ or ()
    )
    _require_place(out)
    with terminal_display() as display:
        found = sweep(todo, cpus=cpus, gpus=gpus, address=ray_address, display=display)
    write_summary(found, out / "sweep.csv")
    names = ("run", "seed", "target", "state", "validated", "error", "cost", "tested", "test")
    shown = TerminalTable(names)
    for job, outcome in found.items():
        for row in summary(job, outcome):
            shown.add_row(*(_cell(row.get(name, "")) for name in names))
    say(shown)
    say(f"all figures: {out / 'sweep.csv'}")
    failed = [job.folder.name for job, outcome in found.items() if isinstance(outcome, str)]
    if failed:
        raise ClusterError(
            f"{len(failed)} of {len(found)} runs failed: {', '.join(failed)}; error.txt in their "
            "folders says why; the same command does only these again"
        )


def _require_place(out: Path) -> None:
    """Raise `RunFolderError` if the sweep could not write its files, before any work is done."""
    from nas.run.folder import RunFolderError

    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise RunFolderError(
            f"cannot write the folder of the sweep {out}: {error.strerror or error}; choose "
            "another with --out"
        ) from error
    if (out / "sweep.csv").is_dir():
        raise RunFolderError(f"{out / 'sweep.csv'} is a folder; choose another folder with --out")


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _numbers(text: str) -> list[int]:
    from nas.recipe.recipe import RecipeError

    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isascii() and word.isdecimal() for word in words):
        raise RecipeError(f"--seeds {text!r} must be whole numbers with commas, such as 0,1,2")
    return [int(word) for word in words]
