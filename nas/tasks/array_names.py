"""Which array of a file is which: `x_train` under its usual names, or under those of a recipe."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from nas.tasks.task import TaskError

SPLITS = ("train", "validation", "test")
Slot = Literal["x_train", "y_train", "x_validation", "y_validation", "x_test", "y_test"]
SLOTS: tuple[Slot, ...] = (
    *("x_train", "y_train", "x_validation", "y_validation"),
    *("x_test", "y_test"),
)
_AXES = {
    "x": "x xs image images img imgs pixels data features input inputs samples",
    "y": "y ys label labels target targets",
}
_SPLITS = {
    "train": "train training tr trn trainset",
    "validation": "validation valid val dev valset validset validationset",
    "test": "test testing te tst testset",
}
_JOINTS = re.compile(r"[\W_]+")
_KNOWN = "x_train, X_train, images_train, train_images or, without a split, X, images, data"


@dataclass(frozen=True)
class Names:
    """The names of the arrays of a task in a file.

    Attributes:
        held: Slot such as `x_train` -> the name of its array.
        others: The names of all other arrays.
    """

    held: Mapping[Slot, str]
    others: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the names that differ from the slots; nothing if there are none."""
        differing = [f"{slot} is {name!r}" for slot, name in self.held.items() if slot != name]
        return (f"arrays under other names: {', '.join(differing)}",) if differing else ()


def found(
    where: str,
    there: Collection[str],
    *,
    given: Mapping[Slot, str] | None = None,
    targets: bool = True,
) -> Names:
    """The names of the arrays that a task reads, among those that are there.

    Args:
        where: The file or folder, for errors.
        there: The names of all arrays.
        given: The names that a recipe gives. If left out, arrays are found by their usual names.
        targets: Whether every `x` needs a `y`.

    Raises:
        TaskError: If `x_train`, or a `y` to an `x`, or an `x` to a `y` is missing, a name may be
            one of several arrays, or a given name is not there.
    """
    held = _by_name(where, there) if given is None else dict(given)
    listed = ", ".join(sorted(there)) or "none"
    unknown = [f"{slot} = {name!r}" for slot, name in held.items() if name not in there]
    if unknown:
        raise TaskError(
            f"{where} has no array for the keys {', '.join(unknown)}; its arrays are {listed}"
        )
    if "x_train" not in held:
        raise TaskError(
            f"{where} has no array with the usual name of x_train ({_KNOWN}); its arrays are "
            f'{listed}; say which is which: keys = {{ x_train = "...", y_train = "..." }}'
        )
    for split in SPLITS:
        x, y = _slot("x", split) in held, _slot("y", split) in held
        if x != y and (targets or y):
            has, lacks = ("x", "y") if x else ("y", "x")
            raise TaskError(
                f"{where} has {has}_{split} but no {lacks}_{split}; give both; its arrays are "
                f"{listed}"
            )
    names: dict[Slot, str] = {slot: held[slot] for slot in SLOTS if slot in held}
    return Names(names, tuple(sorted(name for name in there if name not in names.values())))


def _by_name(where: str, there: Collection[str]) -> dict[Slot, str]:
    """The arrays whose names are usual for a slot."""
    slots: dict[Slot, list[str]] = {slot: [] for slot in SLOTS}
    bare: dict[Slot, list[str]] = {"x_train": [], "y_train": []}
    for name in sorted(there):
        slot, has_split = _meant(name)
        if slot is not None:
            (slots if has_split else bare)[slot].append(name)
    held: dict[Slot, str] = {}
    for slot in SLOTS:
        names = slots[slot] or bare.get(slot, [])
        if len(names) > 1 and slot not in names:
            raise TaskError(
                f"{where} has the arrays {', '.join(names)}, any of which may be {slot}; its "
                f"arrays are {', '.join(sorted(there))}; say which is which: "
                'keys = { x_train = "...", y_train = "..." }'
            )
        if names:
            held[slot] = slot if slot in names else names[0]
    return held


def _meant(name: str) -> tuple[Slot | None, bool]:
    """The slot that a name stands for, None for no slot; and whether it names a split."""
    joined = _JOINTS.sub("", name.lower())
    for axis, words in _AXES.items():
        for word in words.split():
            if joined == word:
                return _slot(axis, "train"), False
            for split, others in _SPLITS.items():
                if any(joined in (word + other, other + word) for other in others.split()):
                    return _slot(axis, split), True
    return None, False


def _slot(axis: str, split: str) -> Slot:
    return SLOTS[2 * SPLITS.index(split) + "xy".index(axis)]
