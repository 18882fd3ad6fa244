"""The work of `nas profile`: measures for a run, measures a table, or sends kernels elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nas.profiling.backends import ELSEWHERE, backend_named
from nas.profiling.beside import weights_of
from nas.profiling.elsewhere import write_folder
from nas.profiling.measured_target import timed_by
from nas.profiling.onnx_runtime import Elsewhere
from nas.profiling.sampled import sample
from nas.profiling.table_loop import BUDGET_MS
from nas.profiling.timing import device_name
from nas.recipe.recipe import load_recipe
from nas.run.pipeline import run_steps
from nas.run.steps.profiling import Profiling, kernels_of
from nas.targets import TargetError, load_target
from nas.targets.target_files import read_target_file
from nas.terminal.display import Display
from search_spaces.space import SearchSpace

THIS_CPU = "this-cpu"
TABLE = ".csv"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Options:
    """The options of `nas profile`, as the user gave them; None for an option that was left out."""

    target: str | None
    backend: str | None
    device: str | None
    dtype: str | None
    threads: int | None
    budget_ms: float | None
    sample: int | None
    read: Path | None
    seams: bool | None
    networks: int | None


def for_run(source: Path, overrides: list[str], *, out: Path | None, display: Display) -> None:
    """Measure the kernels that a run needs and write them into its folder."""
    if source.suffix == ".json":
        raise TargetError(f"{source} is a space, not a recipe; say where to: --out TABLE{TABLE}")
    recipe = load_recipe(source, overrides)
    run_steps(recipe, [], folder=out or source.parent / recipe.name, display=display)


def asked_for(
    source: Path, overrides: list[str], *, out: Path | None, options: Options, display: Display
) -> None:
    """Measure a table that belongs to no run, or write kernels for another machine."""
    base = options.target or THIS_CPU
    space, threads = _space(source, overrides)
    if options.backend == ELSEWHERE and options.read is None:
        _send(base, space, display, folder=out, count=options.sample)
        return
    table, described = _files(base, out)
    asked = Profiling(
        space=space,
        base=base,
        path=table,
        target_file=described,
        budget_ms=options.budget_ms or BUDGET_MS,
        sample=options.sample,
        seams=options.seams is not False,
        networks=options.networks or 0,
    )
    if options.read is not None:
        asked.read(options.read, display)
        return
    if out is None:
        _require_this_machine(Path(base), table)
    made = backend_named(
        options.backend or "onnxruntime",
        threads=options.threads or threads,
        device=options.device or "cpu",
        dtype=options.dtype or "float32",
        eight_bit_weights=load_target(base, unmeasured=True).eight_bit_weights,
        network_weights=weights_of(space),
    )
    asked.measure(made, display)


def _require_this_machine(file: Path, table: Path) -> None:
    """Raise `TargetError` if the new table of a target file would hold times of another device.

    A table that is there names its device itself, and is only continued on that device.
    """
    device, here = read_target_file(file).device, device_name()
    if not table.exists() and device != here and "this machine" not in device:
        raise TargetError(
            f"{file} is about {device!r}, and this command times this machine ({here}); write "
            "kernels for that device with --backend elsewhere, or let `nas targets template` list "
            f'the figures to enter; if {file} means this machine, let it say device = "this '
            'machine"'
        )


def _send(
    base: str, space: SearchSpace, display: Display, *, folder: Path | None, count: int | None
) -> None:
    """Write a folder of kernels that another machine can measure."""
    if folder is None:
        raise TargetError("--backend elsewhere writes a folder; say which: --out FOLDER")
    target = load_target(base, unmeasured=True, elsewhere=True)
    sent, refused = timed_by(Elsewhere(), kernels_of(space, target))
    for (operator, numerics), reason in refused.items():
        display.say(f"left out: {operator} at {numerics}; {reason}")
    if refused:
        display.say(
            "figures for what is left out can be entered by hand: `nas targets template` lists the "
            "rows"
        )
    made = write_folder(
        sent if count is None else sample(sent, count),
        folder=folder,
        eight_bit_weights=target.eight_bit_weights,
        network_weights=weights_of(space),
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    display.say(
        f"{folder}: {len(made.keys)} kernels, {size / 1e6:.1f} MB. Copy it to the device; there, "
        "with Python 3.10, numpy and onnxruntime:\n  python measure.py --threads 1"
    )
    display.say(
        f"Copy its results.csv back into {folder}, then run this command with "
        f"--read {folder} --out TABLE{TABLE}"
    )


def _space(source: Path, overrides: list[str]) -> tuple[SearchSpace, int]:
    """The space of a recipe or a space file, and the number of threads for measuring."""
    if source.suffix != ".json":
        recipe = load_recipe(source, overrides)
        return recipe.space.build(recipe.task.load()), recipe.compute.profile_threads
    if overrides:
        raise TargetError(f"--set changes a recipe, and {source} is a space; leave it out")
    return SearchSpace.read(source), 1


def _files(base: str, out: Path | None) -> tuple[Path, Path]:
    """The paths of the table and of its target file, from `--out` or from the target file."""
    if out is None:
        described = read_target_file(Path(base)) if base.endswith(".toml") else None
        if described is None or described.provenance != "measured" or described.table is None:
            raise TargetError(f"say where the table goes: --out TABLE{TABLE}")
        return Path(base).parent / described.table, Path(base)
    if not is_table(out) or not NAME.fullmatch(out.stem):
        raise TargetError(
            f"--out {out} must name a table NAME{TABLE}; the name is letters, digits, '.', '_', '-'"
        )
    return out, out.with_suffix(".toml")


def is_table(out: Path | None) -> bool:
    """Whether the path `--out` means a table, not a folder."""
    return out is not None and out.suffix == TABLE
