"""The layout of a folder of images: its splits, its classes, and what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nas.tasks.picture import lacks_plugin, suffixes
from nas.tasks.task import TaskError

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_HIDDEN = ("__macosx", "thumbs.db", "desktop.ini", "@eadir")
# Endings of files beside images that cannot be images of a class.
_SHOWN = 12
_NO_IMAGES = {".txt", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".log"}


@dataclass(frozen=True, eq=False)
class Found:
    """The files below a folder.

    Attributes:
        images: The files that are read as images, sorted.
        others: How many other files have which ending.
        hidden: The number of files with a hidden name, or in a hidden folder.
    """

    images: tuple[Path, ...] = ()
    others: Mapping[str, int] = field(default_factory=Counter)
    hidden: int = 0


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is of an operating system or an editor, not of the data."""
    return path.name.startswith(".") or path.name.lower() in _HIDDEN


def found_in(folder: Path, *, deep: bool = True) -> Found:
    """The files in a folder and, if `deep`, in all folders below; links are followed."""
    images, others, hidden, seen = list[Path](), Counter[str](), 0, set[str]()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        kept = [] if real in seen or not deep else folders  # a link may lead back up
        folders[:] = sorted(name for name in kept if not is_hidden(Path(name)))
        files = [] if real in seen else [Path(place, name) for name in sorted(names)]
        seen.add(real)
        for path in files:
            ending = path.suffix.lower()
            if is_hidden(path):
                hidden += 1
            elif ending in suffixes():
                images.append(path)
            else:
                others[ending] += 1
    return Found(tuple(images), others, hidden)


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits in `root`, by split; empty if the folders in `root` are classes.

    A folder with the name of a split that holds images itself, beside folders with other names, is
    a class: `train` can be a vehicle.

    Raises:
        TaskError: If a split has two folders, or only the training split has none.
    """
    folders = _below(root)
    named = [(path, _SPLIT_OF[path.name.lower()]) for path in folders if _is_split(path)]
    parted = [split for path, split in named if any(map(_has_images, _below(path)))]
    if not parted and len(named) < len(folders):
        return {}
    found = {split: path for split in SPLIT_NAMES for path, name in named if name == split}
    for split in found:
        several = [path.name for path, name in named if name == split]
        if len(several) > 1:
            raise TaskError(
                f"{root} has {' and '.join(several)}, which both may be the {split} split; join "
                "them or rename one"
            )
    if found and "train" not in found:
        raise TaskError(
            f"{root} has {' and '.join(sorted(path.name for path in found.values()))} but no "
            "folder train; put the folders of the training classes into train"
        )
    return found


def _is_split(path: Path) -> bool:
    return path.name.lower() in _SPLIT_OF


def _below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not is_hidden(path)]


def _has_images(folder: Path) -> bool:
    return bool(found_in(folder).images)


@dataclass(frozen=True, eq=False)
class ClassFolders:
    """The images of one split, in a folder per class.

    Attributes:
        files: Class -> its images.
        passed_over: What lies there and is not read, in words.
    """

    files: Mapping[str, tuple[Path, ...]]
    passed_over: tuple[str, ...]


def class_folders(folder: Path) -> ClassFolders:
    """The images in `folder`, whose folders are the classes; further folders may lie below those.

    Raises:
        TaskError: If there is no image in a folder of a class, or a folder holds only files that
            cannot be read.
    """
    held = {path: found_in(path) for path in _below(folder)}
    loose = found_in(folder, deep=False)
    _require_classes(folder, held, loose)
    _require_readable(folder, held)
    _require_no_splits_inside(folder, held)
    classes = {path.name: found.images for path, found in held.items() if found.images}
    return ClassFolders(classes, tuple(_passed_over(folder, held, loose)))


def _passed_over(folder: Path, held: Mapping[Path, Found], loose: Found) -> Iterator[str]:
    if loose.images:
        yield f"images in {folder} itself, in no folder of a class: {len(loose.images):,}"
    for path, found in held.items():
        others = counted(found.others)
        if not found.images:
            yield f"the folder {path}, which holds {others or 'no file'}"
        elif others:
            yield f"{others} in {path}"
    if loose.others:
        yield f"{counted(loose.others)} in {folder} itself"
    if hidden := loose.hidden + sum(found.hidden for found in held.values()):
        yield f"hidden files in {folder}: {hidden:,}"


def _require_classes(folder: Path, held: Mapping[Path, Found], loose: Found) -> None:
    names = {path.name.lower(): found for path, found in held.items()}
    boxes = names.get("labels")
    if "images" in names and boxes and not boxes.images and ".txt" in boxes.others:
        raise TaskError(
            f"{folder} has images and labels, as for the detection of objects, which is no task "
            "here; give a folder with one folder of images per class"
        )
    filled = [path for path, found in held.items() if found.images]
    if filled:
        _require_no_wrapping(folder, filled)
        return
    lying = f"; {len(loose.images):,} images lie in {folder} itself" if loose.images else ""
    _require_readable(folder, held)
    raise TaskError(
        f"{folder} holds no images in a folder of a class{lying}; put them into one folder per "
        f"class, as {folder}/CLASS/NAME.png, with an ending among {', '.join(sorted(suffixes()))}; "
        "or name a table of files and classes as labels"
    )


def _require_no_wrapping(folder: Path, filled: list[Path]) -> None:
    """Refuse a single folder around those of the classes, as an unpacked archive has."""
    inner = [path.name for path in _below(filled[0]) if _has_images(path)]
    if len(filled) == 1 and len(inner) > 1:
        raise TaskError(
            f"{folder} has images in one folder only, {filled[0].name}, which holds the folders "
            f"{', '.join(inner[:_SHOWN])}; if these are the classes or splits, give "
            f"{filled[0]} as the path"
        )


def _require_no_splits_inside(folder: Path, held: Mapping[Path, Found]) -> None:
    """Refuse splits below the classes, which would be joined without a word."""
    for path, found in held.items():
        inner = [below for below in _below(path) if _is_split(below)] if found.images else []
        if len({_SPLIT_OF[below.name.lower()] for below in inner}) > 1:
            told = " and ".join(below.name for below in inner)
            raise TaskError(
                f"{path} holds {told}; splits lie above classes here: move them to "
                f"{folder / inner[0].name / path.name} and so on"
            )


def _require_readable(folder: Path, held: Mapping[Path, Found]) -> None:
    """Refuse folders of files that cannot be read, which would be missing classes."""
    unread = {
        path.name: {ending: n for ending, n in found.others.items() if ending not in _NO_IMAGES}
        for path, found in held.items()
        if not found.images
    }
    told = [f"{name} ({counted(others)})" for name, others in unread.items() if others]
    installed = _plugin(ending for found in held.values() for ending in found.others)
    if told or installed:
        raise TaskError(
            f"{folder} has folders without an image that can be read: {', '.join(told)}; "
            f"{installed or 'convert these files, or move the folders away'}"
            if told
            else f"{folder} has images that cannot be read yet; {installed}"
        )


def _plugin(endings: Iterable[str]) -> str:
    lacking = sorted(ending for ending in set(endings) if lacks_plugin(ending))
    if not lacking:
        return ""
    return f"for {', '.join(lacking)} run: pip install 'elastic-nas[images]', or convert them"


def counted(endings: Mapping[str, int]) -> str:
    """How many files have which ending, most frequent first: `40 .png, 2 .jpg`."""
    most = sorted(endings.items(), key=lambda held: -held[1])
    return ", ".join(f"{n:,} {ending or 'without ending'}" for ending, n in most)


def others_beside(root: Path, splits: Mapping[str, Path]) -> Iterator[str]:
    """What lies beside the folders of the splits and is not read, in words."""
    if not splits:
        return
    for path in _below(root):
        if path not in splits.values():
            count = len(found_in(path).images)
            yield f"the folder {path}, which is no split{f' ({count:,} images)' if count else ''}"
    loose = found_in(root, deep=False)
    if loose.images or loose.others:
        held = Counter(path.suffix.lower() for path in loose.images) + Counter(loose.others)
        yield f"{counted(held)} in {root} itself"
