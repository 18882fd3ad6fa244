"""Images whose classes stand in a table, not in the names of their folders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from nas.tasks.image_layout import ClassFolders, found_in
from nas.tasks.task import TaskError
from nas.tasks.text_files import read_columns

_SHOWN = 5


def classes_in(folder: Path, table: Path, *, file: str, label: str) -> ClassFolders:
    """The images of a folder and of all folders below, by the class that a table gives each.

    The table names an image by its path in the folder, or by its name where there is only one
    image of that name, each with or without the ending.

    Args:
        folder: The folder.
        table: The table, as `nas.tasks.text_files.read_columns` reads it.
        file: The column of the names.
        label: The column of the classes.

    Raises:
        TaskError: If the table cannot be read, names a file that is not there, is unclear or stands
            there twice.
    """
    images = found_in(folder).images
    known = _by_name(folder, images)
    classes: defaultdict[str, list[Path]] = defaultdict(list)
    absent, unclear = list[str](), list[str]()
    for name, kind in read_columns(table, (file, label)):
        found = known.get(Path(name).as_posix().removeprefix("./"), [])
        if len(found) == 1:
            classes[kind].append(found[0])
        else:
            (unclear if found else absent).append(name)
    used = [image for files in classes.values() for image in files]
    repeated = [str(image) for image, count in Counter(used).items() if count > 1]
    for fault, names in (
        (f"names files that are not in {folder}", absent),
        (f"names files of which {folder} has several; give their paths", unclear),
        ("names images more than once", repeated),
    ):
        if names:
            raise TaskError(f"{table} {fault}: {_some(names)}; correct its column {file!r}")
    spare = sorted(str(image.relative_to(folder)) for image in {*images} - {*used})
    told = (
        (f"{len(spare)} images that {table.name} does not name: {_some(spare)}",) if spare else ()
    )
    return ClassFolders({kind: tuple(files) for kind, files in sorted(classes.items())}, told)


def _by_name(folder: Path, images: Sequence[Path]) -> dict[str, list[Path]]:
    """The images by the names that a table may give them; paths come before names alone."""
    paths: defaultdict[str, list[Path]] = defaultdict(list)
    names: defaultdict[str, list[Path]] = defaultdict(list)
    for image in images:
        inside = image.relative_to(folder)
        for path in {inside.as_posix(), inside.with_suffix("").as_posix()}:
            paths[path].append(image)
        for name in {image.name, image.stem}:
            names[name].append(image)
    return {**names, **paths}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
