"""Where a run's evaluations go: its folder's journal, or a database that several runs share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.archive import Archive
from nas.archive_files import merge_archives
from nas.folder import MAKES_EVALUATIONS, RunFolder, RunFolderError
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
    files = RunFolder(folder)
    if files.space.exists() and files.recipe.exists():
        content = files.stored_recipe()
        shared = content["search"].get("archive") and files.supernet.exists()
        if shared or files.archive.exists():
            space = SearchSpace.read(files.space)
            return run_archive(files, space, content)
    raise RunFolderError(
        f"{folder} holds no archive with its recipe and space; give the folder of a run whose "
        "search has begun"
    )
