"""Data from which no network can learn, or that look wrong, are told before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.tasks import ArraysTask, TaskError
from nas.tasks.facts import facts_of_task
from nas.tasks.section import enough

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 3
# As `arrays.py` among the inputs of a newcomer: three classes of different brightness.
IMAGES = RNG.integers(0, 100, (120, 8, 8)) + (LABELS * 50)[:, None, None]
FEATURES = RNG.normal(3, 2, (120, 5)) * [1, 10, 100, 0.1, 1]


def load(folder: Path, *, options: dict[str, object] | None = None, **arrays: np.ndarray):
    np.savez(folder / "data.npz", **arrays)
    return ArraysTask(path=folder / "data.npz", **(options or {})).load()


def warnings(folder: Path, **arrays: np.ndarray) -> tuple[str, ...]:
    told = facts_of_task(load(folder, **arrays)).warnings
    return tuple(words for words in told if "so a figure measured on these" not in words)


def held(task, split: str) -> np.ndarray:
    return task.content()[split][1].numpy()


TRAIN = {"x_train": IMAGES, "y_train": LABELS}


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda x: x / 255,
            "from 0 to 0.780392, those of the training samples from 0 to 199",
        ),
        (lambda x: x * 257, "257 times wider"),
        (lambda x: (x - 100) / 50, "times narrower"),
    ],
)
def test_a_split_in_another_scale_is_refused(tmp_path, split, change, told):
    with pytest.raises(TaskError, match=told) as caught:
        load(tmp_path, **TRAIN, **{f"x_{split}": change(IMAGES), f"y_{split}": LABELS})
    assert f"the values of image in the {split} split are" in str(caught.value)


def test_features_and_values_in_another_scale_are_refused(tmp_path):
    values = FEATURES.sum(axis=1)
    train = {"x_train": FEATURES, "y_train": values}
    with pytest.raises(TaskError, match=r"features in the test split.*times narrower"):
        load(tmp_path, **train, x_test=FEATURES / 1000, y_test=values)
    with pytest.raises(TaskError, match=r"targets in the test split.*1000 times wider"):
        load(tmp_path, **train, x_test=FEATURES, y_test=values * 1000)


def test_splits_that_differ_a_little_are_told_and_equal_ones_are_not(tmp_path):
    (told,) = warnings(tmp_path, **TRAIN, x_test=255 - IMAGES * 0.3, y_test=LABELS)
    assert "their spread is 0.3 times" in told
    assert "prepared alike?" in told
    other = RNG.permutation(120)[:40]
    mirrored = IMAGES[other, :, ::-1]
    assert warnings(tmp_path, **TRAIN, x_test=mirrored, y_test=LABELS[other]) == ()


def test_images_without_content_are_refused_or_told(tmp_path):
    with pytest.raises(TaskError, match="all 72 training samples have the same image"):
        load(tmp_path, x_train=np.full((120, 8, 8), 7), y_train=LABELS)
    some = IMAGES.copy()
    some[:30] = 255
    told = warnings(tmp_path, x_train=some, y_train=LABELS, x_test=IMAGES[:9], y_test=LABELS[:9])
    counts = [int(words.split()[0]) for words in told if "have one colour only" in words]
    assert sum(counts) == 30
    assert len(counts) == 2


def test_splits_of_few_samples_are_warned_of(tmp_path):
    told = facts_of_task(load(tmp_path, **TRAIN)).warnings
    assert "the validation split has 24 samples" in told[0]
    assert "by 12 points at an accuracy of 90 %" in told[0]
    assert "raise validation_fraction" in told[0]
    assert "the test split has 24 samples" in told[1]
    many, labels = RNG.integers(0, 255, (1300, 8, 8)), np.arange(1300) % 3
    assert facts_of_task(load(tmp_path, x_train=many, y_train=labels)).warnings == ()


@pytest.mark.parametrize(
    ("count", "held"), [(63, 16), (626, 156), (2000, 500), (4000, 500), (5000, 500), (60_000, 6000)]
)
def test_enough_samples_are_held_out_where_they_can_be_spared(count, held):
    assert round(enough(count) * count) == held


def test_features_that_never_change_are_told(tmp_path):
    still = FEATURES.copy()
    still[:, [1, 4]] = 3
    assert warnings(tmp_path, x_train=still, y_train=LABELS) == (
        "features that are the same in all training samples: 1, 4",
    )


@pytest.mark.parametrize("rare", [3, 5, 9])
def test_a_rare_class_is_in_every_split(tmp_path, rare):
    labels = np.r_[np.zeros(120 - rare, int), np.ones(rare, int)]
    task = load(tmp_path, x_train=IMAGES, y_train=labels)
    for split in ("train", "validation", "test"):
        assert set(held(task, split).tolist()) == {0, 1}
    assert sum(task.sizes().values()) == 120
    told = facts_of_task(task).warnings[-1]
    assert told.startswith("classes of fewer than 10 training samples: 1 (")


def test_a_class_with_too_few_samples_for_all_splits_is_refused(tmp_path):
    labels = np.r_[np.zeros(118, int), [1, 1]]
    with pytest.raises(
        TaskError, match=r"one each for train, validation, test: 1 \(2\); give more"
    ):
        load(tmp_path, x_train=IMAGES, y_train=labels)
    given = {"x_test": IMAGES[:9], "y_test": LABELS[:9] % 2}
    task = load(tmp_path, x_train=IMAGES, y_train=labels, **given)
    assert 1 in held(task, "train")
    assert 1 in held(task, "validation")


def test_classes_that_a_given_split_lacks_are_told_or_refused(tmp_path):
    two, one = LABELS < 2, LABELS < 1
    told = warnings(tmp_path, **TRAIN, x_val=IMAGES[two], y_val=LABELS[two])
    assert "the validation split has no sample of 2" in told
    with pytest.raises(TaskError, match="one class only in its validation split, 0, by which no"):
        load(tmp_path, **TRAIN, x_val=IMAGES[one], y_val=LABELS[one])
    told = warnings(tmp_path, **TRAIN, x_test=IMAGES[one], y_test=LABELS[one])
    assert "the test split has no sample of 1, 2" in told


def test_a_limit_that_cuts_a_class_off_names_it(tmp_path):
    with pytest.raises(TaskError, match="classes without a sample among its 2 training samples: "):
        load(tmp_path, **TRAIN, options={"limit": 2})


def test_samples_that_are_in_two_splits_are_told(tmp_path):
    told = warnings(tmp_path, **TRAIN, x_test=IMAGES[:30], y_test=LABELS[:30])
    assert any(" of 30 samples of the test split are training samples too" in w for w in told)
    mirrored = IMAGES[..., ::-1]
    assert not warnings(tmp_path, **TRAIN, x_test=mirrored, y_test=LABELS)


def test_a_given_split_that_is_small_is_not_raised_by_a_fraction(tmp_path):
    told = facts_of_task(load(tmp_path, **TRAIN, x_validation=IMAGES, y_validation=LABELS)).warnings
    small = [words for words in told if "so a figure measured on these" in words]
    assert [words.partition("are chance; ")[2] for words in small] == [
        "give more",
        "raise test_fraction, or give more",
    ]
