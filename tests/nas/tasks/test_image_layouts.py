"""Folders of images as people have them: images are read, passed over with a word, or refused."""

from __future__ import annotations

import json
import runpy
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.facts.data_facts import DataFacts
from nas.tasks import FolderTask, ImagePairsTask, TaskError
from nas.tasks.facts import facts_of_task

RNG = np.random.default_rng(0)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (4, 4), dtype=np.uint8)).save(path)


def pictures(root: Path, *folders: str, count: int = 12, ending: str = "png") -> None:
    for folder in folders:
        for k in range(count):
            picture(root / folder / f"{k:02}.{ending}")


def read(root: Path, **options: object) -> DataFacts:
    return facts_of_task(FolderTask.model_validate({"path": root, "channels": 1, **options}).load())


def counts(facts: DataFacts) -> dict[str, int]:
    """The samples of each class in all splits."""
    splits = [split.classes for split in facts.splits.values()]
    return {name: sum(split[name] for split in splits) for name in splits[0]}


@pytest.mark.parametrize(
    "names",
    [
        ("train", "validation", "test"),
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("training", "dev", "testing"),
        ("TRAIN", "VAL", "TEST"),
    ],
)
def test_usual_names_of_splits_are_known(tmp_path, names):
    for name, count in zip(names, (9, 4, 3), strict=True):
        pictures(tmp_path / name, "cat", "dog", count=count)
    facts = read(tmp_path)
    told = {
        split: (facts.splits[split].samples, facts.splits[split].origin) for split in facts.splits
    }
    wanted = [(18, f"{names[0]}/"), (8, f"{names[1]}/"), (6, f"{names[2]}/")]
    assert told == dict(zip(("train", "validation", "test"), wanted, strict=True))


def test_images_below_the_folder_of_a_class_are_of_the_class(tmp_path):
    pictures(tmp_path, "cat", "dog/small", "dog/large/more")
    (tmp_path / "more").mkdir()
    pictures(tmp_path / "elsewhere", "kept")
    (tmp_path / "data").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / name).rename(tmp_path / "data" / name)
    (tmp_path / "data" / "owl").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "owl" / "round").symlink_to(tmp_path / "elsewhere")  # a link into itself
    assert counts(read(tmp_path / "data")) == {"cat": 12, "dog": 24, "owl": 12}


def test_what_is_no_image_is_passed_over_with_a_word(tmp_path):
    pictures(tmp_path / "train", "cat", "dog")
    pictures(tmp_path / "extra", "cow", count=2)
    picture(tmp_path / "train" / "loose.png")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / "cat" / "._00.png").write_bytes(b"of a file system")
    (tmp_path / "train" / "empty").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "data.csv").write_text("a,b")
    facts = read(tmp_path)
    assert counts(facts) == {"cat": 12, "dog": 12}
    passed_over = "\n".join(facts.passed_over)
    for part in (
        f"the folder {tmp_path}/extra, which is no split (2 images)",
        f"images in {tmp_path}/train itself, in no folder of a class: 1",
        f"1 .txt in {tmp_path}/train/cat",
        f"the folder {tmp_path}/train/empty, which holds no file",
        f"hidden files in {tmp_path}/train: 1",
        f"1 .csv in {tmp_path} itself",
    ):
        assert part in passed_over
    assert facts.kind == "a folder of images (24 .png)"


def test_a_class_of_other_files_does_not_vanish(tmp_path):
    pictures(tmp_path, "cat", "dog")
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "0.CR2").write_bytes(b"raw")
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "0").write_bytes(b"without ending")
    with pytest.raises(TaskError, match=r"bird \(1 .cr2\), owl \(1 without ending\); convert"):
        read(tmp_path)


def test_images_of_a_missing_package_do_not_vanish(tmp_path, monkeypatch):
    pictures(tmp_path, "cat", "dog")
    (tmp_path / "dog" / "more.HEIC").write_bytes(b"heic")
    known = frozenset({".png"})
    for module in ("image_layout", "picture"):
        monkeypatch.setattr(f"nas.tasks.{module}.suffixes", lambda: known)
    with pytest.raises(TaskError, match=r"\.heic run: pip install 'elastic-nas\[images\]'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/cat", "val/cat", "valid/cat"), "has val and valid, which both may be"),
        (("val/cat", "test/cat", "cat", "dog"), "has test and val but no folder train"),
        (("train", "test"), r"no images in a folder of a class; 12 images lie in .*train itself"),
        (("train/cat", "train/dog", "val"), r"12 images lie in .*val itself"),
        (("data/cat", "data/dog"), r"one folder only, data, which holds .* cat, dog.*data as the"),
        (("cat/train", "cat/test", "dog/train"), r"cat holds test and train; splits lie above"),
        (("images/train", "images/val"), r"one folder only, images, .* splits, give .*images as"),
        (("train/cat", "train/dog", "val/cow"), r"validation split of .* has the class cow"),
    ],
)
def test_layouts_that_say_nothing_sure_are_refused(tmp_path, folders, message):
    pictures(tmp_path, *folders)
    with pytest.raises(TaskError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("splits", [("",), ("train", "valid")])
def test_boxes_around_objects_are_no_classes(tmp_path, splits):
    for split in splits:
        pictures(tmp_path / split, "images")
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / "00.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(TaskError, match="images and labels, as for the detection of objects"):
        read(tmp_path)


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(TaskError, match=r"photos\.zip is a file; .* unpack an archive"):
        read(tmp_path / "photos.zip")


def test_a_train_can_be_a_vehicle(tmp_path):
    pictures(tmp_path, "bus", "car", "train")
    assert counts(read(tmp_path)) == {"bus": 12, "car": 12, "train": 12}


def test_a_name_with_an_accent_is_one_class_on_every_disk(tmp_path):
    pictures(tmp_path / "train", unicodedata.normalize("NFC", "café"), "tea")
    pictures(tmp_path / "test", unicodedata.normalize("NFD", "café"), "tea")
    assert read(tmp_path).splits["test"].classes == {"café": 12, "tea": 12}


def test_a_folder_of_mixed_sizes_is_an_ordinary_task(tmp_path):
    for k in range(12):
        for name in ("cat", "dog"):
            path = tmp_path / name / f"{k}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (8 + k, 20 - k), 10 * k).save(path)
    for fit in ("pad", "crop", "stretch"):
        task = FolderTask(path=tmp_path, image_size=8, channels=1, fit=fit).load()
        assert task.inputs[0].shape == (1, 8, 8)


def test_pairs_know_the_same_names_of_splits(tmp_path):
    for split in ("Train", "val"):
        pictures(tmp_path / split, "x", "y")
    (tmp_path / "Train" / "x" / "notes.txt").write_text("no image")
    facts = facts_of_task(ImagePairsTask(path=tmp_path, channels=1).load())
    assert facts.splits["validation"].samples == 12
    assert facts.splits["validation"].origin == "val/"
    assert facts.passed_over == (f"1 .txt in {tmp_path}/Train/x",)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that makes a folder of images by the script that lies beside the repository."""

    def make(kind: str) -> Path:
        for folder in Path(__file__).resolve().parents:
            script = folder / "shared" / "inputs" / "make_images.py"
            if script.exists():
                monkeypatch.chdir(tmp_path)
                monkeypatch.setattr(sys, "argv", [str(script), kind])
                runpy.run_path(str(script))
                return tmp_path / kind
        pytest.skip("there is no shared/inputs/make_images.py beside the repository")

    return make


@pytest.mark.parametrize(
    ("kind", "dtype", "brightest"),
    [
        ("depth16", "uint16", 209 * 257),
        ("depth12", "uint16", 209 * 16),
        ("float", "float32", 209 / 255),
    ],
)
def test_deep_images_keep_their_range(made, kind, dtype, brightest):
    values = read(made(kind)).splits["train"].inputs["image"]
    assert (values.dtype, values.shape) == (dtype, (1, 16, 16))
    assert values.high == pytest.approx(brightest)


def test_turned_photographs_are_told_and_have_one_size_when_scaled(made):
    root = made("exif")
    with pytest.raises(TaskError, match=r"2 sizes: 16 x 10 pixels .*10 x 16 pixels .*image_size"):
        read(root)
    assert any("turned as their EXIF data say" in note for note in read(root, image_size=16).notes)


def test_a_class_of_damaged_photographs_is_named(made):
    with pytest.raises(
        TaskError, match=r"20 in all: bird/0\.HEIC .*, and 10 more; repair or remove"
    ):
        read(made("heic"))


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("val", {"cat": 60, "dog": 60}),
        ("nested", {"bird": 20, "cat": 20, "dog": 20}),
        ("jfif", {"cat": 20, "dog": 20}),
    ],
)
def test_no_image_is_left_out(made, kind, classes):
    facts = read(made(kind))
    assert counts(facts) == classes
    assert json.loads(json.dumps(facts.passed_over)) == []
    assert facts.splits["validation"].origin == (
        "val/" if kind == "val" else "drawn from train (25%)"
    )
