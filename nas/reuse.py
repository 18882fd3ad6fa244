"""Another device from a finished run: its supernet, its archive, and few or no new evaluations."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from nas.archive import Archive
from nas.archive_files import merge_archives
from nas.display import Display
from nas.folder import RunFolder, RunFolderError
from nas.pipeline import run
from nas.recipe import Recipe, validate_recipe
from nas.recipe_file import apply_override
from nas.report.data import Results
from nas.run_archive import archive_in


def reused(
    source: Path,
    targets: Sequence[str],
    *,
    folder: Path,
    evaluations: int = 0,
    overrides: Sequence[str] = (),
    display: Display | None = None,
) -> Results:
    """Fronts, exported subnets and a report for `targets`, in `folder`, out of another run.

    What the other run evaluated counts for every device, so none is evaluated anew; `evaluations`
    more may be, chosen for these targets in the knowledge of all others. Called again for the same
    folder it goes on where it was stopped.

    Args:
        source: The folder of a run whose search is done, or its `archive.journal`.
        targets: Names of shipped targets or target files.
        folder: The new run folder.
        evaluations: How many new ones are allowed.
        overrides: `KEY=VALUE` over the recipe, such as `targets.0.limits.latency_ms=2`.
        display: Where to show progress; nowhere by default.

    Raises:
        RunFolderError: `source` is not the folder of a searched run.
        RecipeError: The recipe is not valid with these targets and overrides.
    """
    found = RunFolder(source.parent if source.is_file() else source)
    kept = (found.recipe, found.space, found.supernet, found.history)
    missing = [path.name for path in kept if not path.exists()]
    if missing:
        raise RunFolderError(
            f"{found.path} lacks {', '.join(missing)}, so it is not the folder of a searched run; "
            "give one in which `nas run` or `nas search` has ended"
        )
    content = found.stored_recipe()
    archive = archive_in(found.path)
    if not RunFolder(folder).archive.exists():
        known = len(archive)
    else:
        known = RunFolder(folder).stored_recipe()["search"]["known"]
    content["targets"] = [{"name": name} for name in targets]
    content["search"] |= {"known": known, "budget": evaluations}
    for override in overrides:
        apply_override(content, override)
    recipe = validate_recipe(content, source=f"{found.recipe} with other targets")
    if changed := found.differing(recipe.model_dump(mode="json")):
        raise RunFolderError(
            f"{found.path} was trained and measured with another {' and '.join(changed)}, so its "
            f"evaluations are not worth the same; leave {' and '.join(changed)} as it is"
        )
    if not RunFolder(folder).archive.exists():
        _copied(found, archive, RunFolder(folder), recipe)
    return run(recipe, folder=folder, resume=True, display=display)


def _copied(found: RunFolder, archive: Archive, new: RunFolder, recipe: Recipe) -> None:
    """What the new run starts from; the archive last, since it says that all is there."""
    with new.open(recipe, resume=False):
        for path in (
            found.space,
            found.supernet,
            found.history,
            found.probe,
            found.table,
            found.transfer,
        ):
            if path.exists():
                shutil.copyfile(path, new.path / path.name)
        part = new.path / f".{new.archive.name}.part"
        merge_archives(Archive(part, archive.space, study=recipe.name), [archive])
        part.replace(new.archive)
