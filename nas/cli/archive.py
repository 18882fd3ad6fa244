"""The command `nas archive`: exports, merges or seals the evaluations of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.trust import Trust
from nas.terminal.display import complain, say
from nas.terminal.interrupts import loading

archive_app = typer.Typer(help="What was evaluated: export, merge, seal it.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="A run folder.")]
Databases = Annotated[
    list[str] | None,
    typer.Option("--archive", help="A database that a folder's recipe names and may be opened."),
]


@archive_app.command()
def export(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="A .csv or .parquet file.")],
    databases: Databases = None,
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", help="A target file that the recipe names and may be opened."),
    ] = None,
    _trust: Trust = False,
) -> None:
    """Write every evaluation of a run, with its costs, as a row of a CSV or Parquet file."""
    with loading():
        from nas.archive.sharing import export_archive
        from nas.run.archive_costs import ArchiveCosts
        from nas.run.run_archive import archive_in

    archive = archive_in(folder, databases=databases or ())
    costs = ArchiveCosts(folder, archive.space, named=targets or ())
    count = export_archive(archive, file, costs=costs)
    for words in costs.left_out:
        complain(words)
    say(f"{count} evaluations in {file}")


@archive_app.command()
def merge(
    folder: Folder,
    others: Annotated[list[Path], typer.Argument(help="Run folders of the same supernet.")],
    databases: Databases = None,
    _trust: Trust = False,
) -> None:
    """Append the evaluations of other runs with the same supernet to a run's archive."""
    with loading():
        from nas.archive.sharing import merge_archives
        from nas.run.run_archive import archive_in

    _require_supernets(folder, *others)
    found = [archive_in(other, databases=databases or ()) for other in others]
    into = archive_in(folder, databases=databases or (), read_only=False)
    for other in others:
        _require_same_supernet(folder, other)
    count = merge_archives(into, found)
    say(f"{count} evaluations added to {folder}")


@archive_app.command()
def seal(folder: Folder, databases: Databases = None, _trust: Trust = False) -> None:
    """Check an archive of an earlier version, or a damaged one, and chain its intact records."""
    with loading():
        from nas.run.run_archive import sealed_in

    done = sealed_in(folder, databases=databases or ())
    for words in done.lost:
        complain(f"lost: {words}")
    kept = f"; as it was, the file stands in {done.copy}" if done.copy else ""
    say(f"{done.evaluations} evaluations are sealed in {folder}{kept}")


def _require_supernets(*folders: Path) -> None:
    """Raise `RunFolderError` if a run is about a network that was trained before it."""
    from nas.run.folder import RunFolder, RunFolderError

    if trained := [str(one) for one in folders if RunFolder(one).about_trained]:
        raise RunFolderError(
            f"{', '.join(trained)}: runs about a trained network are not merged; `nas run` or "
            "`nas fit` with --resume in one folder uses all evaluations that are there"
        )


def _require_same_supernet(folder: Path, other: Path) -> None:
    """Raise `RunFolderError` if two runs have other weights or were measured on other data."""
    from nas.run.folder import RunFolder, RunFolderError

    paths = [RunFolder(path).supernet for path in (folder, other)]
    if not all(path.exists() for path in paths) or paths[0].read_bytes() != paths[1].read_bytes():
        raise RunFolderError(
            f"{folder} and {other} do not hold the same trained supernet, so their errors cannot "
            "be compared; merge runs that share one, such as those of `nas search --from`"
        )
    if changed := RunFolder(folder).differing(RunFolder(other).stored_recipe()):
        raise RunFolderError(
            f"{folder} and {other} were measured with another {' and '.join(changed)}, so their "
            "errors cannot be compared; merge runs in which these are equal"
        )
