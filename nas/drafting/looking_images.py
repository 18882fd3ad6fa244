"""A look at a folder of images: whether it has classes, and the sizes and colours of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.drafting.asking import Ask
from nas.settings.toml_file import RecipeError
from nas.tasks.image_layout import found_in
from nas.tasks.picture import glance
from nas.tasks.task import TaskError

_LOOKED_AT = 2000
_SIZES = (16, 24, 32, 48, 64)  # larger images are scaled down, so that the first run is short


def images_in(folder: Path) -> list[Path]:
    """Image files in a folder and below, in the order of their names."""
    return sorted(found_in(folder).images)


def image_keys(
    folder: Path, files: Sequence[Path], given: Mapping[str, Any], ask: Ask
) -> tuple[dict[str, Any], dict[str, str]]:
    """The keys of a task on a folder of images, and comments on them.

    Raises:
        RecipeError: The images are not in folders of classes, and no other kind of task is given.
        TaskError: An image cannot be read.
    """
    if given.get("kind") == "image-pairs":
        return {"kind": "image-pairs", "path": str(folder)}, {}
    if any(file.parent == folder for file in files):
        loose = next(file for file in files if file.parent == folder)
        raise RecipeError(
            f"{loose} lies in no folder of a class; move every image to {folder}/CLASS/. To "
            "enlarge images rather than to classify them: --set task.kind=image-pairs --set "
            "task.shrink=2"
        )
    step = max(1, len(files) // _LOOKED_AT)
    sides, grey = _looked_at(files[::step])
    values: dict[str, Any] = {"kind": "folder", "path": str(folder)}
    comments = {"kind": "one subfolder per class; or train/CLASS and test/CLASS"}
    size = _size(sides)
    if size is not None:
        values["image_size"] = size
        comments["image_size"] = f"images are {_told(sides)} pixels; larger takes longer"
    values["channels"] = 1 if grey else 3
    comments["channels"] = "1 is grey, 3 is colour"
    pixels = given.get("image_size") or size or max(max(sides))
    values["augment"] = {"shift": max(1, pixels // 8), "flip": _mirrored(given, ask, grey=grey)}
    comments["augment"] = "in training, images are moved by so many pixels, and mirrored"
    return values, comments


def _looked_at(files: Sequence[Path]) -> tuple[set[tuple[int, int]], bool]:
    """The widths and heights of images, and whether all are grey; pixels are not read."""
    sides, grey, reason = set[tuple[int, int]](), True, ""
    for file in files:
        try:
            seen = glance(file)
        except ValueError as error:  # loading the task names all of them
            reason = reason or f"{file} cannot be read as an image ({error}); repair or remove it"
            continue
        sides.add(seen.size)
        grey &= seen.grey
    if not sides:
        raise TaskError(reason)
    return sides, grey


def _size(sides: set[tuple[int, int]]) -> int | None:
    """The side of the square into which images are scaled; None for images that can stay."""
    longer = sorted(map(max, sides))[len(sides) // 2]
    if len(sides) == 1 and longer <= _SIZES[-1]:
        return None
    return max((size for size in _SIZES if size <= longer), default=_SIZES[0])


def _told(sides: set[tuple[int, int]]) -> str:
    least, most = min(sides), max(sides)
    first = f"{least[0]} x {least[1]}"
    return first if least == most else f"{first} to {most[0]} x {most[1]}"


def _mirrored(given: Mapping[str, Any], ask: Ask, *, grey: bool) -> bool:
    """Whether an image means the same when it is mirrored, which only the user knows."""
    if "augment" in given:
        return False  # the answer is in the given key
    answer = ask(
        "Does an image mean the same when it is mirrored? (Photos mostly do; digits, letters and "
        "arrows do not.)",
        key="--set 'task.augment={shift=2, flip=true}'",
        options=("yes", "no"),
        default="no" if grey else "yes",
    )
    return answer == "yes"
