"""`nas archive`: what was evaluated, as a table or from several runs in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from nas.archive_files import export_archive, merge_archives
from nas.folder import RunFolder, RunFolderError
from nas.run_archive import archive_in, sealed_in

archive_app = typer.Typer(help="What was evaluated: export, merge, seal it.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="A run folder.")]


@archive_app.command()
def export(
    folder: Folder, file: Annotated[Path, typer.Argument(help="A .csv or .parquet file.")]
) -> None:
    """Write every evaluation of a run as a row of a CSV or Parquet file."""
    count = export_archive(archive_in(folder), file)
    Console().print(f"{count} evaluations in {file}")


@archive_app.command()
def merge(
    folder: Folder,
    others: Annotated[list[Path], typer.Argument(help="Run folders of the same supernet.")],
) -> None:
    """Append to a run's archive what others evaluated with the same supernet."""
    into, found = archive_in(folder), [archive_in(other) for other in others]
    for other in others:
        _require_same_supernet(folder, other)
    count = merge_archives(into, found)
    Console().print(f"{count} evaluations added to {folder}")


@archive_app.command()
def seal(folder: Folder) -> None:
    """Check an archive of an earlier version, or a damaged one, and chain its whole records."""
    done = sealed_in(folder)
    for words in done.lost:
        Console(stderr=True).print(Text(f"lost: {words}"))
    kept = f"; as it was, the file stands in {done.copy}" if done.copy else ""
    Console().print(Text(f"{done.evaluations} evaluations are sealed in {folder}{kept}"))


def _require_same_supernet(folder: Path, other: Path) -> None:
    """Evaluations mean the same only where the weights and what they were measured on are equal."""
    paths = [RunFolder(path).supernet for path in (folder, other)]
    if not all(path.exists() for path in paths) or paths[0].read_bytes() != paths[1].read_bytes():
        raise RunFolderError(
            f"{folder} and {other} do not hold the same trained supernet, so their errors cannot "
            "be compared; merge runs that share one, such as those of `nas search --from`"
        )
    if changed := RunFolder(folder).differing(json.loads(RunFolder(other).recipe.read_bytes())):
        raise RunFolderError(
            f"{folder} and {other} were measured with another {' and '.join(changed)}, so their "
            "errors cannot be compared; merge runs in which these are equal"
        )
