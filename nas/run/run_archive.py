"""The archive of a run: a journal in its folder, or a database that several runs share."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from nas.archive.archive import Archive, usable
from nas.archive.sealing import Sealing, seal_journal
from nas.archive.sharing import merge_archives
from nas.archive.studies import seal_database
from nas.own.remembering import journal_in
from nas.run.folder import MAKES_EVALUATIONS, RunFolder, RunFolderError
from nas.settings.urls import database_url, shown
from search_spaces.space import SearchSpace


def run_archive(files: RunFolder, space: SearchSpace, content: Mapping[str, Any]) -> Archive:
    """The archive of a run, made if missing.

    If the archive is in a database, the evaluations in the folder's journal are copied there.

    Args:
        files: The run folder, with a trained supernet.
        space: The search space of the run.
        content: The recipe, as in `recipe.json`.

    Raises:
        ArchiveError: The database holds evaluations of another space, supernet or data under the
            run's name.
        WriteError: The archive cannot be written.
    """
    name = content["name"]
    shared = _shared(files, space, content, read_only=False)
    if shared is None:
        return Archive(files.archive, space, study=name)
    if files.archive.exists():
        merge_archives(shared, [Archive(files.archive, space, study=name, read_only=True)])
    return shared


def _shared(
    files: RunFolder, space: SearchSpace, content: Mapping[str, Any], *, read_only: bool
) -> Archive | None:
    """The archive in the database that a recipe names, or None if it names no database."""
    settings = content["search"]
    if not settings.get("archive"):
        return None
    made = hashlib.sha256(files.supernet.read_bytes())
    made.update(repr([settings[key] for key in MAKES_EVALUATIONS]).encode())
    return Archive(
        settings["archive"],
        space,
        study=content["name"],
        supernet=made.hexdigest()[:16],
        read_only=read_only,
    )


def archive_in(folder: Path, *, databases: Collection[str] = (), read_only: bool = True) -> Archive:
    """The archive of the run in `folder`.

    A folder may come from another person, so the database that its recipe names is opened only if
    it is one of `databases`.

    Args:
        folder: The run folder.
        databases: URLs that the user has named.
        read_only: Whether nothing is made, locked or written.

    Raises:
        RunFolderError: The run has no archive, or has it in a database that the user did not name.
        ArchiveError: As `Archive` raises it.
    """
    files, space, content = _run_in(folder, databases)
    if not read_only:
        return run_archive(files, space, content)
    shared = _shared(files, space, content, read_only=True)
    if shared is not None:
        return shared
    return Archive(_journal(files, space, content), space, study=content["name"], read_only=True)


def sealed_in(folder: Path, *, databases: Collection[str] = ()) -> Sealing:
    """The outcome of sealing the archive of the run in `folder`, see `seal_journal`.

    In a database, trials of an earlier version get digests, and none is left out.

    Args:
        folder: The run folder.
        databases: URLs that the user has named; no other is opened.

    Raises:
        RunFolderError: The run has no archive, has its archive in a database that the user did not
            name, or is used by another process.
        ArchiveError: The archive belongs to another space or supernet.
    """
    files, space, content = _run_in(folder, databases)
    with files.locked():
        done = Sealing()
        journal = _journal(files, space, content)
        if journal.exists():
            done = seal_journal(journal, space, study=content["name"])
        if url := content["search"].get("archive"):
            with usable(shown(url)):
                done.evaluations = seal_database(url, space, study=content["name"])
    return done


def _run_in(
    folder: Path, databases: Collection[str]
) -> tuple[RunFolder, SearchSpace, Mapping[str, Any]]:
    files = RunFolder(folder)
    files.require_own()
    allowed = _urls(databases, "this command line")
    if files.space.exists() and files.recipe.exists():
        content = files.stored_recipe()
        named = content["search"].get("archive")
        if named:
            _require_named(files, named, allowed)
        space = SearchSpace.read(files.space)
        if (named and files.supernet.exists()) or _journal(files, space, content).exists():
            return files, space, content
    raise RunFolderError(
        f"{folder} holds no archive with its recipe and space; give the folder of a run whose "
        "search has begun (the evaluations in a storage of nas.fit are found.frame() and "
        "found.archive there)"
    )


def _journal(files: RunFolder, space: SearchSpace, content: Mapping[str, Any]) -> Path:
    """The journal in a run folder; a trained network has one for each space that was searched."""
    if "model" not in content:
        return files.archive
    return journal_in(files.path, space, tuned=content["model"].get("epochs") is not None)


def _require_named(files: RunFolder, url: Any, allowed: Sequence[URL]) -> None:
    if _urls([url], str(files.recipe))[0] not in allowed:
        raise RunFolderError(
            f"{files.recipe} names an archive outside of its folder, {shown(url)}, which is opened "
            "only if this command line names the same: if you want that, give the URL that stands "
            "there in search.archive with --archive (for search.transfer, as the search.archive of "
            "your own recipe)"
        )


def _urls(given: Iterable[Any], source: str) -> list[URL]:
    try:
        return [database_url(url) for url in given]
    except ValueError as error:
        raise RunFolderError(
            f"{source} names an archive that is not opened: the URL {error}"
        ) from error
