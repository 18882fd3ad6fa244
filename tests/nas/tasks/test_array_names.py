"""Arrays are found under the names that people give them, or under those of a recipe."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pydantic import ValidationError

from nas.tasks import ArraysTask, TaskError
from nas.tasks.array_names import found
from nas.tasks.facts import facts_of_task

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
IMAGES = RNG.integers(0, 256, (60, 8, 8))


@pytest.mark.parametrize(
    ("x", "y", "x_val"),
    [
        ("x_train", "y_train", "x_validation"),
        ("X_train", "Y_train", "X_val"),
        ("x_tr", "y_tr", "x_dev"),
        ("train_images", "train_labels", "val_images"),
        ("trainX", "trainY", "validX"),
        ("images", "labels", "images_valid"),
        ("data", "target", "data-val"),
        ("Features", "Labels", "features.val"),
        ("X", "y", "xval"),
        ("train_set_x", "train_set_y", "x_validation"),
    ],
)
def test_usual_names_are_found(x, y, x_val):
    y_val = {"X": "Y", "x": "y"}.get(x_val[0], "y") + "_val"
    names = found("f", {x, y, x_val, y_val, "class_names"})
    assert dict(names.held) == {
        "x_train": x,
        "y_train": y,
        "x_validation": x_val,
        "y_validation": y_val,
    }
    assert names.others == ("class_names",)


def test_a_name_with_its_split_comes_before_one_without():
    names = found("f", {"x_train", "y_train", "images", "labels"})
    assert names.others == ("images", "labels")


@pytest.mark.parametrize("as_folder", [True, False])
def test_what_was_found_is_told(tmp_path, as_folder):
    arrays = {"images": IMAGES, "labels": LABELS, "ids": np.arange(60)}
    path = tmp_path / "keys"
    if as_folder:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    else:
        path = tmp_path / "keys.npz"
        np.savez(path, **arrays)
    facts = facts_of_task(ArraysTask(path=path).load())
    assert facts.splits["train"].origin == "images, labels"
    assert facts.notes == ("arrays under other names: x_train is 'images', y_train is 'labels'",)
    assert facts.passed_over == ("ids: no array of the task",)


def test_a_validation_split_under_a_short_name_is_the_validation_split(tmp_path):
    some = slice(30)
    names = {"x_train": IMAGES, "y_train": LABELS, "x_val": IMAGES[some], "y_val": LABELS[some]}
    np.savez(tmp_path / "val_keys.npz", **names, x_test=IMAGES[some], y_test=LABELS[some])
    task = ArraysTask(path=tmp_path / "val_keys.npz").load()
    assert task.sizes() == {"train": 60, "validation": 30, "test": 30}


def test_a_recipe_names_the_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", IMAGES, LABELS, np.zeros(3))
    with pytest.raises(TaskError, match=r"its arrays are arr_0, arr_1, arr_2; say which is which"):
        ArraysTask(path=tmp_path / "a.npz").load()
    keys = {"x_train": "arr_0", "y_train": "arr_1"}
    assert ArraysTask(path=tmp_path / "a.npz", keys=keys).load().output == (3,)
    with pytest.raises(
        TaskError, match=r"no array for the keys y_train = 'labels'; its arrays are"
    ):
        ArraysTask(path=tmp_path / "a.npz", keys={**keys, "y_train": "labels"}).load()
    with pytest.raises(ValidationError, match="x_train"):
        ArraysTask(path=tmp_path / "a.npz", keys={"images": "arr_0"})


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ({"X_train", "train_images", "y"}, "X_train, train_images, any of which may be x_train"),
        ({"x_train", "labels_test"}, "x_train but no y_train"),
        ({"x_train", "y_train", "y_val"}, "y_validation but no x_validation"),
        ({"audio", "digit"}, "no array with the usual name of x_train"),
        (set(), "its arrays are none"),
    ],
)
def test_what_is_missing_or_unclear_is_named_beside_what_is_there(names, fault):
    with pytest.raises(TaskError, match=fault) as caught:
        found("f", names)
    assert all(re.search(rf"\b{name}\b", str(caught.value)) for name in names)


def test_a_file_in_another_case_is_named(tmp_path):
    np.savez(tmp_path / "Data.npz", x_train=IMAGES, y_train=LABELS)
    with pytest.raises(TaskError, match=r"no file .*data\.npz; beside it lies 'Data\.npz' .upper"):
        ArraysTask(path=tmp_path / "data.npz").load()
