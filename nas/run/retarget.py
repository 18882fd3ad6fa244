"""Search for other devices from the supernet and the archive of a finished run."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from nas.archive.archive import Archive
from nas.archive.sharing import merge_archives
from nas.recipe.recipe import Recipe, validate_recipe
from nas.report.data import Results
from nas.run.folder import RunFolder, RunFolderError
from nas.run.pipeline import run
from nas.run.run_archive import archive_in
from nas.settings.outside import outside
from nas.settings.toml_file import apply_override
from nas.terminal.display import Display


def reused(
    source: Path,
    targets: Sequence[str],
    *,
    folder: Path,
    evaluations: int = 0,
    overrides: Sequence[str] = (),
    databases: Collection[str] = (),
    display: Display | None = None,
) -> Results:
    """The results for `targets` in a new run folder, from the evaluations of another run.

    Evaluations of the other run count for every device, so no subnet is evaluated again. Up to
    `evaluations` new subnets are evaluated, chosen for these targets. A repeated call with the
    same folder continues a stopped one. The source may come from another person, so files that its
    recipe names outside of the folder are opened only if `overrides` name them too.

    Args:
        source: The folder of a run whose search is done, or its `archive.journal`.
        targets: Names of shipped targets or target files.
        folder: The new run folder.
        evaluations: The largest number of new evaluations.
        overrides: `KEY=VALUE` over the recipe, such as `targets.0.limits.latency_ms=2`.
        databases: URLs of archives that may be opened, where the source's recipe names one.
        display: Where to show progress; nowhere by default.

    Raises:
        RunFolderError: `source` is not the folder of a searched run, or its recipe names outside
            files that the overrides do not name.
        RecipeError: The recipe is not valid with these targets and overrides.
    """
    found = RunFolder(source.parent if source.is_file() else source)
    found.require_own()
    if found.about_trained:
        raise RunFolderError(
            f"{found.path} is about a network that is trained already, whose evaluations count for "
            "every device: `nas run RECIPE --resume` with other [[targets]], or `nas fit ... "
            f"--target NAME --resume`, with --out {found.path}, measures nothing again"
        )
    _require_searched(found)
    content = found.stored_recipe()
    content["targets"] = [{"name": name} for name in targets]
    content["search"] |= {"budget": evaluations, "known": 1, "archive": None}
    for override in overrides:
        apply_override(content, override)
    source_name = f"{found.recipe} with other targets"
    asked = validate_recipe(content, source=source_name)
    _require_named(asked, overrides, found)
    shared = asked.search.archive
    archive = archive_in(found.path, databases=[*databases, *([shared] if shared else [])])
    if not RunFolder(folder).archive.exists():
        known = len(archive)
    else:
        known = RunFolder(folder).stored_recipe()["search"]["known"]
    content["search"]["known"] = known
    recipe = validate_recipe(content, source=source_name)
    _require_alike(found, recipe)
    if not RunFolder(folder).archive.exists():
        _copied(found, archive, RunFolder(folder), recipe)
    return run(recipe, folder=folder, resume=True, display=display)


def _require_searched(found: RunFolder) -> None:
    """Raise `RunFolderError` unless the folder holds all files of a searched run."""
    kept = (found.recipe, found.space, found.supernet, found.history)
    missing = [path.name for path in kept if not path.exists()]
    if missing:
        raise RunFolderError(
            f"{found.path} lacks {', '.join(missing)}, so it is not the folder of a searched run; "
            "give one in which `nas run` or `nas search` has ended"
        )


def _require_alike(found: RunFolder, recipe: Recipe) -> None:
    """Raise `RunFolderError` if evaluations of the folder would differ under the recipe."""
    if changed := found.differing(recipe.model_dump(mode="json")):
        raise RunFolderError(
            f"{found.path} was trained and measured with another {' and '.join(changed)}, so its "
            f"evaluations are not worth the same; leave {' and '.join(changed)} as it is"
        )


def _require_named(recipe: Recipe, overrides: Sequence[str], found: RunFolder) -> None:
    """Refuse a recipe that names files outside of its folder, unless an override sets them."""
    ours = [override.partition("=")[0].strip() for override in overrides]
    copied = ["space.path"] + (["search.transfer"] if found.transfer.exists() else [])
    unnamed = {
        key: value
        for key, value in outside(recipe)
        if key not in copied and not any(f"{key}.".startswith(f"{name}.") for name in ours)
    }
    if unnamed:
        added = " ".join(f"--set {key}={shlex.quote(str(v))}" for key, v in unnamed.items())
        raise RunFolderError(
            f"{found.recipe} names what lies outside of its folder, which is opened only if this "
            f"command line names it too: if you want that, add {added}"
        )


def _copied(found: RunFolder, archive: Archive, new: RunFolder, recipe: Recipe) -> None:
    """Copy the files from which the new run starts.

    The archive comes last, since its presence means that the copy is complete.
    """
    with new.open(recipe, resume=False):
        for path in (
            found.space,
            found.supernet,
            found.history,
            found.probe,
            found.table,
            found.transfer,
            found.sources,
        ):
            if path.exists():
                shutil.copyfile(path, new.path / path.name)
        part = new.unfinished_archive
        merge_archives(Archive(part, archive.space, study=recipe.name), [archive])
        part.replace(new.archive)
