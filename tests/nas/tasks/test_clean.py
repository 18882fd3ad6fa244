"""What is wrong with data is said in one sentence, and what is only unusual is put right."""

import numpy as np
import pytest
import torch

from nas.tasks import ArraysTask, FolderTask, OpenMLTask, TaskError
from nas.tasks.augment import Augment, shifted
from nas.tasks.classes import balanced_order
from nas.tasks.clean import labelled, pixel_statistics, squared

LABELS = np.arange(12) % 3


def images(*shape, count=12, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, size=(count, *shape)).astype(dtype)


@pytest.fixture
def write(tmp_path):
    def written(**arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return path

    return written


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((5, 5), "auto"), ((5, 5, 3), "auto"), ((3, 5, 5), "auto"), ((4, 5, 5), "nchw")],
)
def test_layouts_become_channels_first(shape, layout):
    raw = images(*shape)
    made = labelled("data", raw, LABELS, layout=layout).inputs["image"]
    channels = 1 if len(shape) == 2 else (shape[0] if shape[1] == shape[2] else shape[2])
    assert made.shape == (12, channels, 5, 5)
    if len(shape) == 3 and shape[2] == 3:
        assert np.array_equal(made[4, 1], raw[4, :, :, 1])


def test_images_are_padded_to_a_square_around_their_centre():
    padded = squared(np.ones((1, 1, 2, 5)))
    assert padded.shape == (1, 1, 5, 5)
    assert padded[0, 0].sum(1).tolist() == [0, 5, 5, 0, 0]


@pytest.mark.parametrize(
    ("arrays", "layout", "message"),
    [
        ({"y_train": LABELS}, "auto", "usual name of x_train"),
        ({"x_train": images(5, 5)}, "auto", "no y_train"),
        ({"x_train": images(5, 5), "y_train": LABELS[:7]}, "auto", "12 samples but targets"),
        ({"x_train": images(25), "y_train": LABELS}, "nhw", "layout 'nhw' cannot be"),
        ({"x_train": images(3, 5, 3), "y_train": LABELS}, "auto", "set layout to"),
        ({"x_train": images(5, 5), "y_train": LABELS}, "nchw", "layout 'nchw' cannot be"),
        ({"x_train": images(5, 5), "y_train": LABELS + 0.5}, "auto", "no whole numbers"),
        ({"x_train": images(5, 5), "y_train": np.full(12, np.nan)}, "auto", "no whole numbers"),
        ({"x_train": images(5, 5), "y_train": np.eye(3)[LABELS]}, "auto", "one class per sample"),
        ({"x_train": images(5, 5), "y_train": np.zeros(12)}, "auto", "one class only"),
        ({"x_train": images(5, 5, dtype=np.complex64), "y_train": LABELS}, "auto", "complex64"),
        ({"x_train": images(5, 5, count=0), "y_train": LABELS[:0]}, "auto", "no targets"),
        (
            {
                "x_train": images(5, 5),
                "y_train": LABELS,
                "x_test": images(5, 5),
                "y_test": LABELS + 1,
            },
            "auto",
            "the class 3, of which there is no training sample",
        ),
        (
            {"x_train": images(5, 5), "y_train": LABELS, "x_test": images(6, 6), "y_test": LABELS},
            "auto",
            r"test inputs of shape image \(1, 6, 6\)",
        ),
    ],
)
def test_bad_arrays_are_named(write, arrays, layout, message):
    with pytest.raises(TaskError, match=message):
        ArraysTask(
            path=write(**arrays), layout=layout, target="classes", validation_fraction=0.25
        ).load()


def test_images_with_nan_are_named(write):
    bad = images(5, 5, dtype=np.float32)
    bad[7, 2, 2] = np.nan
    with pytest.raises(TaskError, match="first in image 7"):
        ArraysTask(path=write(x_train=bad, y_train=LABELS)).load()


def test_labels_need_not_begin_at_zero(write):
    section = ArraysTask(
        path=write(x_train=images(5, 5), y_train=LABELS.astype(float) * 10 + 5),
        target="classes",
        validation_fraction=0.3,
        test_fraction=0.3,
    )
    task = section.load()
    assert task.usage.output.names == ("5", "15", "25")
    assert set(task.train.targets.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_fraction": 0.01}, "test_fraction = 0.01 of 12 samples leaves a split empty"),
        ({"limit": 2, "validation_fraction": 0.3}, "1 of 3 classes without a sample"),
    ],
)
def test_splits_that_cannot_be_are_named(write, options, message):
    with pytest.raises(TaskError, match=message):
        ArraysTask(path=write(x_train=images(5, 5), y_train=LABELS), **options).load()


def test_unreadable_files_are_named(tmp_path, write):
    with pytest.raises(TaskError, match="there is no file"):
        ArraysTask(path=tmp_path / "none.npz").load()
    noise = tmp_path / "noise.npz"
    noise.write_bytes(b"no array")
    with pytest.raises(TaskError, match="cannot be read"):
        ArraysTask(path=noise).load()
    path = write(x_train=images(5, 5), y_train=LABELS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TaskError, match="cannot be read"):
        ArraysTask(path=path).load()
    with pytest.raises(TaskError, match="cannot be read"):
        ArraysTask(path=write(x_train=np.array([None]), y_train=LABELS)).load()
    np.save(tmp_path / "one.npy", images(5, 5))
    with pytest.raises(TaskError, match="is one array"):
        ArraysTask(path=tmp_path / "one.npy").load()


def test_unreadable_folders_are_named(tmp_path):
    with pytest.raises(TaskError, match=r"there is no .*none; give a folder"):
        FolderTask(path=tmp_path / "none").load()
    with pytest.raises(TaskError, match="holds no images"):
        FolderTask(path=tmp_path).load()
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(TaskError, match=r"cat/0\.png \(of no known format\)"):
        FolderTask(path=tmp_path).load()


def test_images_of_several_sizes_need_a_size(tmp_path):
    from PIL import Image

    for name, size in {"cat": 4, "dog": 5}.items():
        (tmp_path / name).mkdir()
        Image.new("RGB", (size, size)).save(tmp_path / name / "0.png")
    with pytest.raises(TaskError, match="set image_size"):
        FolderTask(path=tmp_path).load()


def test_without_a_network_openml_says_what_to_do(monkeypatch):
    def offline(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", offline)
    with pytest.raises(TaskError, match=r"without a network.*npz"):
        OpenMLTask(name="mnist").load()


def test_every_beginning_of_the_balanced_order_is_balanced():
    labels = np.array([0] * 40 + [1] * 20)
    order = balanced_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(60))
    for length in (3, 15, 33):
        assert abs((labels[order[:length]] == 0).sum() - 2 * length / 3) <= 1


def test_statistics_are_those_of_numpy():
    raw = images(3, 7, 7, count=1500)
    mean, std = pixel_statistics(raw)
    np.testing.assert_allclose(mean, raw.mean((0, 2, 3)))
    np.testing.assert_allclose(std, raw.std((0, 2, 3)))
    assert pixel_statistics(np.full((2, 1, 3, 3), 7))[1].tolist() == [1.0]


def test_shifting_moves_pixels_and_fills_with_black():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    black = torch.tensor([-1.0])
    moved = shifted(image, black, torch.tensor([[1], [-1]]))[0, 0]
    assert moved.tolist() == [[-1, -1, -1], [1, 2, -1], [4, 5, -1]]
    assert torch.equal(shifted(image, black, torch.zeros(2, 1, dtype=torch.int64)), image)


def test_augmentation_draws_every_shift_and_mirrors_half():
    batch = torch.zeros(400, 1, 5, 5)
    batch[:, 0, 2, 1] = 1.0
    made = Augment(shift=1, flip=True)(batch, torch.zeros(1), np.random.default_rng(0))
    assert (made.sum((1, 2, 3)) == 1).all()
    spots, counts = made.flatten(1).argmax(1).unique(return_counts=True)
    assert len(spots) == 15  # rows 1..3, columns 0..2 and mirrored 2..4
    assert counts.min() >= 8
    mirrored = Augment(flip=True)(batch, torch.zeros(1), np.random.default_rng(0))
    assert 150 < mirrored[:, 0, 2, 3].sum() < 250
