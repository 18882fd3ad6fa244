"""What a file of arrays claims is held against what it has, in the types that are used."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas import memory
from nas.tasks import ArraysTask, TaskError

LABELS = np.arange(12) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, size=(12, 5, 5)).astype(np.float64)


def loaded(path: Path):
    return ArraysTask(
        path=path, target="classes", validation_fraction=0.3, test_fraction=0.3
    ).load()


def saved(folder: Path, **arrays) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def with_pixel(value: float) -> np.ndarray:
    images = IMAGES.copy()
    images[7, 2, 2] = value
    return images


@pytest.mark.parametrize("value", [1e39, -1e300, 3e38, np.inf, np.nan])
@pytest.mark.parametrize("kind", [np.float64, np.longdouble])
def test_pixels_that_float32_cannot_hold_are_named(tmp_path, value, kind):
    path = saved(tmp_path, x_train=with_pixel(value).astype(kind), y_train=LABELS)
    with pytest.raises(TaskError, match="first in image 7"):
        loaded(path)


@pytest.mark.parametrize("value", [1e37, -5e37, 1e-300])
def test_what_passes_is_finite_once_it_is_normalised(tmp_path, value):
    task = loaded(saved(tmp_path, x_train=with_pixel(value), y_train=LABELS))
    assert task.train.inputs["image"].isfinite().all()
    assert task.validation.inputs["image"].isfinite().all()


def test_what_float32_cannot_tell_apart_has_no_spread(tmp_path):
    task = loaded(saved(tmp_path, x_train=IMAGES * 1e-300, y_train=LABELS))
    assert task.usage.inputs["image"].scaling.std == (1.0,)
    assert task.train.inputs["image"].isfinite().all()


@pytest.mark.parametrize(
    "labels",
    [
        LABELS + 2.0**63,
        np.full(12, 1e300) * (LABELS + 1),
        LABELS.astype(np.uint64) + np.uint64(2**63),
        np.where(LABELS > 0, np.inf, 0.0),
    ],
    ids=("beyond int64", "1e300", "uint64", "infinite"),
)
def test_labels_that_64_bits_cannot_hold_are_refused(tmp_path, labels):
    with pytest.raises(TaskError, match="whole numbers of 64 bits"):
        loaded(saved(tmp_path, x_train=IMAGES, y_train=labels))


@pytest.mark.parametrize("kind", [np.uint64, np.int8, np.float16, np.float64, "U8"])
def test_labels_of_any_type_become_class_numbers(tmp_path, kind):
    task = loaded(saved(tmp_path, x_train=IMAGES, y_train=LABELS.astype(kind)))
    assert set(task.train.targets.tolist()) == {0, 1, 2}


def test_names_in_one_split_and_numbers_in_another_are_refused(tmp_path):
    path = saved(tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS.astype(str))
    with pytest.raises(TaskError, match=r"labels of type <U.*names to all classes, or numbers"):
        loaded(path)


def claiming(shape: str, kind: str = "<f8", content: bytes = bytes(80)) -> bytes:
    """A `.npy` file with this header and this content."""
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


LIES = {
    "more items": claiming("(1000000000000,)"),
    "overflow": claiming("(4611686018427387904, 4)"),
    "negative": claiming("(-1,)"),
    "texts without letters": claiming("(1000000000000,)", "<U0"),
    "objects": claiming("(10,)", "|O"),
    "too little": claiming("(11,)"),
    "too much": claiming("(9,)"),
    "deep header": claiming("-" * 5000 + "1"),
    "no header": b"\x93NUMPY\x01",
    "unknown version": b"\x93NUMPY\x09\x00" + bytes(100),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, None])
def test_a_file_that_claims_what_it_does_not_hold_is_refused(tmp_path, content, compression):
    if compression is None:
        path = tmp_path
        (path / "x_train.npy").write_bytes(content)
        np.save(path / "y_train.npy", LABELS)
    else:
        path = tmp_path / "data.npz"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("x_train.npy", content)
            archive.writestr("y_train.npy", claiming("(10,)"))
    with pytest.raises(TaskError, match="cannot be read as numpy arrays"):
        loaded(path)


def test_other_compressions_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x_train.npy", claiming("(10,)"))
        archive.writestr("y_train.npy", claiming("(10,)"))
    with pytest.raises(TaskError, match=r"compressed as numpy\.savez does not"):
        loaded(tmp_path / "data.npz")


def test_a_small_file_of_large_arrays_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x_train=np.zeros((300, 200, 200)), y_train=np.zeros(300))
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(memory, "memory_limit", lambda: 100_000_000)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(TaskError, match=r"at least 0\.144 GB of memory, and there are 0\.1 GB"):
        loaded(path)


def test_arrays_beside_those_of_the_task_are_not_looked_at(tmp_path):
    path = saved(tmp_path, x_train=IMAGES, y_train=LABELS, other=np.array([None, {}]))
    assert loaded(path).output == (3,)
