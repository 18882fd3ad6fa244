"""Images whose classes stand in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.tasks import FolderTask, TaskError
from nas.tasks.facts import facts_of_task

pillow = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
NAMES = [f"{'ab'[n % 2]}/img{n}" for n in range(40)]
KINDS = [("cat", "dog")[n // 2 % 2] for n in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("images") / "pictures"
    for name in NAMES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        pillow.fromarray(pixels).save(made / f"{name}.png")
    return made


def table(path: Path, names: list[str], kinds: list[str], *, sign: str = ",") -> Path:
    rows = [sign.join(row) for row in zip(names, kinds, strict=True)]
    path.write_text("\n".join([f"image{sign}kind", *rows, ""]), encoding="utf-8-sig")
    return path


def load(folder: Path, labels: Path):
    return FolderTask(path=folder, labels=labels, file="image", label="kind").load()


@pytest.mark.parametrize(
    "named",
    [lambda n: f"{n}.png", lambda n: n, lambda n: f"{Path(n).name}.png", lambda n: Path(n).name],
)
def test_the_table_gives_the_classes(folder, tmp_path, named):
    labels = table(tmp_path / "labels.csv", [named(name) for name in NAMES], KINDS, sign=";")
    facts = facts_of_task(load(folder, labels))
    assert {split: facts.splits[split].classes for split in ("train", "test")} == {
        "train": {"cat": 12, "dog": 12},
        "test": {"cat": 4, "dog": 4},
    }
    assert facts.passed_over == ()


def test_images_that_the_table_does_not_name_are_told(folder, tmp_path):
    task = load(folder, table(tmp_path / "labels.csv", NAMES[:36], KINDS[:36]))
    assert sum(task.sizes().values()) == 36
    (told,) = facts_of_task(task).passed_over
    assert told.startswith("4 images that labels.csv does not name: 'a/img36.png'")


def test_names_that_fit_no_image_or_several_are_refused(folder, tmp_path):
    labels = table(tmp_path / "labels.csv", [*NAMES, "img99.png", "x"], [*KINDS, "cat", "cat"])
    with pytest.raises(TaskError, match=r"not in .*pictures: 'img99\.png', 'x'; correct"):
        load(folder, labels)
    twice = table(tmp_path / "labels.csv", [*NAMES, "img3"], [*KINDS, "cat"])
    with pytest.raises(TaskError, match=r"images more than once: '.*img3\.png'"):
        load(folder, twice)
    for place in ("b", "c"):
        (tmp_path / "two" / place).mkdir(parents=True)
        pillow.new("RGB", (8, 8)).save(tmp_path / "two" / place / "img0.png")
    unclear = table(tmp_path / "labels.csv", ["img0.png", "c/img0.png"], ["cat", "dog"])
    with pytest.raises(TaskError, match=r"has several; give their paths: 'img0\.png'"):
        load(tmp_path / "two", unclear)


def test_columns_without_a_table_are_refused(folder):
    with pytest.raises(TaskError, match="label names a column of the table labels"):
        FolderTask(path=folder, label="kind").load()
