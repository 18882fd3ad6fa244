"""Where a run's evaluations go: its folder's journal, or a database that several runs share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.archive import Archive, usable
from nas.archive_files import merge_archives
from nas.database import without_secrets
from nas.folder import MAKES_EVALUATIONS, RunFolder, RunFolderError
from nas.sealing import Sealing, seal_journal
from nas.studies import seal_database
from search_spaces.space import SearchSpace


def run_archive(files: RunFolder, space: SearchSpace, content: Mapping[str, Any]) -> Archive:
    """The archive of a run, made if missing; a database takes over what the folder's journal holds.

    Args:
        files: The run folder, its supernet trained.
        space: The run's.
        content: The recipe as `recipe.json` holds it.

    Raises:
        ArchiveError: The database holds evaluations of another space, supernet or data under the
            run's name.
        WriteError: The archive cannot be written.
    """
    name, settings = content["name"], content["search"]
    if not settings.get("archive"):
        return Archive(files.archive, space, study=name)
    made = hashlib.sha256(files.supernet.read_bytes())
    made.update(repr([settings[key] for key in MAKES_EVALUATIONS]).encode())
    shared = Archive(settings["archive"], space, study=name, supernet=made.hexdigest()[:16])
    if files.archive.exists():
        merge_archives(shared, [Archive(files.archive, space, study=name)])
    return shared


def archive_in(folder: Path) -> Archive:
    """The archive of the run in `folder`.

    Raises:
        RunFolderError: If the run has none.
    """
    return run_archive(*_run_in(folder))


def sealed_in(folder: Path) -> Sealing:
    """What became of the archive of the run in `folder`, chained anew: see `seal_journal`.

    In a database, trials of an earlier version get their digests; none is left out.

    Raises:
        RunFolderError: If the run has none, or another process uses it.
        ArchiveError: The archive is of something else.
    """
    files, space, content = _run_in(folder)
    with files.locked():
        done = Sealing()
        if files.archive.exists():
            done = seal_journal(files.archive, space, study=content["name"])
        if url := content["search"].get("archive"):
            with usable(without_secrets(url)):
                done.evaluations = seal_database(url, space, study=content["name"])
    return done


def _run_in(folder: Path) -> tuple[RunFolder, SearchSpace, Mapping[str, Any]]:
    files = RunFolder(folder)
    if files.space.exists() and files.recipe.exists():
        content = json.loads(files.recipe.read_bytes())
        shared = content["search"].get("archive") and files.supernet.exists()
        if shared or files.archive.exists():
            return files, SearchSpace.from_json(files.space.read_text(encoding="utf-8")), content
    raise RunFolderError(
        f"{folder} holds no archive with its recipe and space; give the folder of a run whose "
        "search has begun"
    )
