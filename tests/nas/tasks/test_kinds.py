"""Every kind of task keeps the contract, and gives what its source holds."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from nas.recipe.sections import TaskSection, section_for
from nas.tasks import ArraysTask, DigitsTask, FolderTask, OpenMLTask, TaskError
from nas.testing.task import ImageTaskContract


def labelled_images(rng, count, shape, classes=3):
    images = rng.integers(0, 256, size=(count, *shape), dtype=np.uint8)
    return images, np.arange(count) % classes


class TestDigits(ImageTaskContract):
    @pytest.fixture
    def section(self):
        return DigitsTask()

    def test_it_holds_what_scikit_learn_ships(self, task):
        assert sum(task.sizes().values()) == 1797
        assert (task.output, task.inputs[0].shape) == ((10,), (1, 8, 8))


class TestArraysFile(ImageTaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        rng = np.random.default_rng(0)
        train, test = labelled_images(rng, 120, (6, 6, 3)), labelled_images(rng, 30, (6, 6, 3))
        path = tmp_path / "colours.npz"
        np.savez(path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
        return ArraysTask(path=path)

    def test_given_splits_are_kept(self, task):
        assert task.name == "colours"
        assert task.sizes() == {"train": 90, "validation": 30, "test": 30}


class TestArraysFolder(ImageTaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        rng = np.random.default_rng(0)
        for split, count in {"train": 120, "validation": 30}.items():
            images, labels = labelled_images(rng, count, (5, 5))
            np.save(tmp_path / f"x_{split}.npy", images / 255)
            np.save(tmp_path / f"y_{split}.npy", np.array(["cat", "dog", "owl"])[labels][:, None])
        return ArraysTask(path=tmp_path)

    def test_class_names_are_kept_and_test_is_drawn(self, task):
        assert task.usage.output.names == ("cat", "dog", "owl")
        assert task.sizes() == {"train": 96, "validation": 30, "test": 24}


def write_images(folder, rng, per_class, size=(6, 6)):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            pixels = rng.integers(0, 256, size=(*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:03}.png")


class TestFolder(ImageTaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        write_images(tmp_path / "pets", np.random.default_rng(0), 40)
        (tmp_path / "pets" / "cat" / "notes.txt").write_text("not an image")
        return FolderTask(path=tmp_path / "pets")

    def test_folders_are_classes(self, task):
        assert (task.name, task.usage.output.names) == ("pets", ("cat", "dog"))
        assert task.sizes() == {"train": 48, "validation": 16, "test": 16}


class TestSplitFolder(ImageTaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        rng = np.random.default_rng(0)
        write_images(tmp_path / "train", rng, 40, size=(9, 4))
        write_images(tmp_path / "test", rng, 5, size=(7, 7))
        return FolderTask(path=tmp_path, image_size=5, channels=1)

    def test_images_are_scaled_to_the_square_and_grey(self, task):
        assert task.inputs[0].shape == (1, 5, 5)
        assert task.sizes()["test"] == 10


class TestOpenML(ImageTaskContract):
    @pytest.fixture
    def section(self, monkeypatch):
        images, labels = labelled_images(np.random.default_rng(0), 150, (3 * 32 * 32,))

        def fetch(name, **_):
            assert name == "CIFAR_10"
            return Bunch(data=images.astype(float), target=labels.astype(str))

        monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
        return OpenMLTask(name="cifar-10")

    def test_rows_become_images(self, task):
        assert task.inputs[0].shape == (3, 32, 32)


def test_the_digits_are_those_of_scikit_learn(monkeypatch):
    held, read = load_digits(), DigitsTask().read()
    assert read.train.inputs["image"][:, 0].tolist() == held.images.tolist()
    assert read.train.targets.tolist() == held.target.tolist()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TaskError, match="install scikit-learn"):
        DigitsTask().read()


def test_a_recipe_section_picks_its_kind():
    def read(content):
        return section_for(TaskSection, content).model_validate(content)

    digits = read({"kind": "digits", "augment": {"shift": 1}})
    assert isinstance(digits, DigitsTask)
    assert digits.augment.shift == 1
    openml = read({"kind": "openml", "name": "mnist"})
    assert isinstance(openml, OpenMLTask)
    assert openml.name == "mnist"
    with pytest.raises(ValidationError, match="Extra inputs"):
        read({"kind": "digits", "folds": 3})
    with pytest.raises(
        ValidationError, match="'arrays', 'diabetes', 'digits', 'features', 'folder'"
    ):
        read({"kind": "imagenet"})
    with pytest.raises(ValidationError, match="less than 1"):
        read({"kind": "digits", "test_fraction": 1.0})
