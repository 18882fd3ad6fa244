"""A look at a user's data: what kind of task they make, and the keys of its section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.drafting.asking import Ask
from nas.drafting.looking_images import image_keys, images_in
from nas.drafting.looking_tables import table_keys
from nas.settings.toml_file import RecipeError

_TEXTS = {".txt", ".md", ".rst"}
_TABLES = {".csv", ".tsv"}
_SHOWN = 6


@dataclass(frozen=True)
class Keys:
    """The keys of a recipe's section `task`.

    Attributes:
        values: Key -> value, beginning with `kind`.
        comments: Key -> what a reader of the recipe should know about the value.
    """

    values: Mapping[str, Any]
    comments: Mapping[str, str] = field(default_factory=dict)


def looked(path: Path, given: Mapping[str, Any], ask: Ask) -> Keys:
    """The section `task` for the data at `path`.

    Args:
        path: A folder or a file.
        given: The keys of the section that the user has given already.
        ask: Asks what the data do not tell.

    Raises:
        RecipeError: There are no such data, or no kind of task reads them.
        TaskError: A file cannot be read.
    """
    if not path.exists():
        raise RecipeError(
            f"there is no {path}; give a folder of images, an .npz file, a table (.csv, .tsv) or a "
            "text (.txt), or bring an example: nas init --example digits"
        )
    look = _folder if path.is_dir() else _FILES.get(_suffix(path))
    if look is None:
        raise RecipeError(
            f"{path} is no file that a task reads; there are tasks for arrays (.npz), tables "
            f"({', '.join(sorted(_TABLES))}), texts ({', '.join(sorted(_TEXTS))}) and folders of "
            "images or .npy files; convert it to one of these"
        )
    keys = look(path, given, ask)
    values = {**keys.values, **given}
    return Keys(values, {key: text for key, text in keys.comments.items() if key not in given})


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def _folder(path: Path, given: Mapping[str, Any], ask: Ask) -> Keys:
    if any(path.glob("*.npy")):
        return _arrays(path, given, ask)
    found = images_in(path)
    if not found:
        kinds = Counter(file.suffix.lower() for file in path.rglob("*") if file.is_file())
        held = ", ".join(f"{n} of {kind or 'no ending'}" for kind, n in kinds.most_common(_SHOWN))
        raise RecipeError(
            f"{path} holds no images and no .npy files ({held or 'it is empty'}); give a folder "
            "with one subfolder of images per class, or arrays x_train.npy and y_train.npy"
        )
    values, comments = image_keys(path, found, given, ask)
    return Keys(values, comments)


def _arrays(path: Path, _given: Mapping[str, Any], _ask: Ask) -> Keys:
    return Keys({"kind": "arrays", "path": str(path)})


def _table(path: Path, given: Mapping[str, Any], ask: Ask) -> Keys:
    return Keys(*table_keys(path, given, ask))


def _text(path: Path, _given: Mapping[str, Any], _ask: Ask) -> Keys:
    return Keys(
        {"kind": "next-token", "train": str(path), "length": 32},
        {
            "kind": "the network continues the text",
            "length": "bytes that a network sees at once",
        },
    )


_FILES: dict[str, Callable[[Path, Mapping[str, Any], Ask], Keys]] = {
    ".npz": _arrays,
    **dict.fromkeys(_TABLES, _table),
    **dict.fromkeys(_TEXTS, _text),
}
