"""Pairs of images: those of files, and those made by shrinking."""

import numpy as np
import pytest
import torch
from PIL import Image

from nas.tasks.image_pairs import ImagePairsTask, shrunk
from nas.tasks.task import TaskError
from nas.testing.task import TaskContract


def images(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(count, *shape), dtype=np.uint8)


class TestShrunkArrays(TaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        path = tmp_path / "views.npz"
        np.savez(path, x_train=images(90, 8, 12, 3), x_test=images(20, 8, 12, 3, seed=1))
        return ImagePairsTask(path=path, shrink=4)

    def test_inputs_are_means_of_squares_in_the_unit_of_the_targets(self, task):
        assert task.inputs[0].shape == (3, 2, 3)
        assert task.output == (3, 8, 12)
        of_targets = torch.nn.functional.avg_pool2d(task.train.targets, 4)
        torch.testing.assert_close(task.train.inputs["image"], of_targets, atol=1e-5, rtol=0)
        pixels = torch.from_numpy(task.usage.output.scaling.undone(task.train.targets.numpy()))
        torch.testing.assert_close(pixels, pixels.round(), atol=1e-3, rtol=0)
        assert (pixels.min().round(), pixels.max().round()) == (0, 255)

    def test_the_ratio_is_that_of_the_pixels_of_the_file(self, task):
        targets = next(iter(task.test_batches(20)))[1]
        out = targets + 16 / task.usage.output.scaling.std[0]
        told = task.criterion.shown.figure(float(task.criterion.losses(out, targets).mean()))
        assert told == pytest.approx(20 * np.log10(255 / 16), abs=1e-3)


class TestPairsOfArrays(TaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        for split, count in {"train": 90, "validation": 20}.items():
            y = images(count, 5, 7, seed=count) / 255
            np.save(tmp_path / f"x_{split}.npy", y + 0.1)
            np.save(tmp_path / f"y_{split}.npy", y)
        return ImagePairsTask(path=tmp_path)

    def test_sizes_are_those_of_the_files(self, task):
        assert task.inputs[0].shape == task.output == (1, 5, 7)
        assert task.sizes() == {"train": 72, "validation": 20, "test": 18}


def write(folder, count, *shape):
    folder.mkdir(parents=True)
    for number, pixels in enumerate(images(count, *shape, seed=len(str(folder)))):
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


class TestPairsOfFiles(TaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        write(tmp_path / "train" / "x", 90, 3, 4, 3)
        write(tmp_path / "train" / "y", 90, 6, 8, 3)
        write(tmp_path / "test" / "x", 10, 3, 4, 3)
        write(tmp_path / "test" / "y", 10, 6, 8, 3)
        return ImagePairsTask(path=tmp_path, channels=1)

    def test_files_of_one_name_are_a_pair(self, task, tmp_path):
        assert (task.inputs[0].shape, task.output) == ((1, 3, 4), (1, 6, 8))
        with Image.open(tmp_path / "test" / "y" / "003.png") as file:
            pixels = np.asarray(file.convert("L"), dtype=np.float32)
        targets = torch.cat([targets for _, targets in task.test_batches(10)])[3, 0]
        (told,) = task.usage.output.scaling.undone(targets.numpy()[None, None])[0]
        np.testing.assert_allclose(told, pixels, atol=1e-3)


def test_images_that_stand_alone_are_shrunk(tmp_path):
    write(tmp_path / "photos", 20, 4, 4, 3)
    task = ImagePairsTask(path=tmp_path / "photos", shrink=2).load()
    assert (task.inputs[0].shape, task.output) == ((3, 2, 2), (3, 4, 4))
    assert shrunk("data", np.arange(16).reshape(1, 1, 4, 4), 2).tolist() == [
        [[[2.5, 4.5], [10.5, 12.5]]]
    ]


@pytest.mark.parametrize(
    ("arrays", "options", "fault"),
    [
        ({"x_train": images(9, 4, 4)}, {}, "no y_train"),
        ({"x_train": images(9, 4, 4), "y_train": images(8, 4, 4)}, {}, "has 8 images for 9"),
        ({"x_train": images(9, 4, 6)}, {"shrink": 4}, "shrink = 4 does not divide"),
        ({"x_train": images(9, 4)}, {"shrink": 2}, "give an array"),
        ({"x_train": images(9, 4, 4) * 1.0}, {"shrink": 2}, "does not tell what white is"),
        ({"x_train": images(9, 4, 4).astype(int)}, {"shrink": 2}, "of type int64 from 0"),
        ({"x_train": images(9, 4, 4) * np.nan}, {"shrink": 2, "peak": 9}, "first in sample 0"),
        (
            {
                "x_train": images(9, 4, 4),
                "y_train": images(9, 4, 4),
                "x_test": images(9, 4, 4),
                "y_test": images(9, 2, 2),
            },
            {},
            "targets must have the shape",
        ),
    ],
)
def test_arrays_that_are_no_pairs_are_refused(tmp_path, arrays, options, fault):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(TaskError, match=fault):
        ImagePairsTask(path=tmp_path / "t.npz", **options).load()


def test_white_may_be_told(tmp_path):
    np.savez(tmp_path / "t.npz", x_train=images(20, 4, 4) * 4.0)
    task = ImagePairsTask(path=tmp_path / "t.npz", shrink=2, peak=1020).load()
    std = task.usage.output.scaling.std[0]
    assert task.criterion.peak == pytest.approx(1020 / std)


def test_files_without_a_partner_are_refused(tmp_path):
    write(tmp_path / "x", 9, 4, 4, 3)
    with pytest.raises(TaskError, match=r"/y holds no images"):
        ImagePairsTask(path=tmp_path).load()
    write(tmp_path / "y", 7, 4, 4, 3)
    Image.new("RGB", (4, 4)).save(tmp_path / "y" / "008.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "y" / "007.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "y" / "007.jpg")
    with pytest.raises(TaskError, match=r"/y has several images called '007' .* keep one"):
        ImagePairsTask(path=tmp_path).load()
    for name in ("007.png", "007.jpg", "008.png"):
        (tmp_path / "y" / name).unlink()
    with pytest.raises(TaskError, match="2 names in one of x and y only, such as '007'"):
        ImagePairsTask(path=tmp_path).load()
    with pytest.raises(TaskError, match="holds no images"):
        ImagePairsTask(path=tmp_path, shrink=2).load()


def test_12_bits_in_16_need_a_peak(tmp_path):
    path = tmp_path / "deep.npz"
    pairs = images(60, 8, 8).astype(np.uint16) * 16
    np.savez(path, x_train=pairs)
    with pytest.raises(TaskError, match=r"uint16 from \d+ to \d+, which does not tell.*set peak"):
        ImagePairsTask(path=path, shrink=2).load()
    assert ImagePairsTask(path=path, shrink=2, peak=4095).load().sizes()["train"] > 0
