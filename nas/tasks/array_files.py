"""Arrays in an `.npz` file or in `.npy` files of one folder, read without trust in the files."""

from __future__ import annotations

import contextlib
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nas.memory import shortage
from nas.tasks.task import TaskError

Array = NDArray[Any]
SPLITS = ("train", "validation", "test")


def read_arrays(path: Path, *, targets: bool = True) -> dict[str, Array]:
    """The arrays `x_train`, `y_train`, `x_validation` and so on of a file or folder, by name.

    Args:
        path: An `.npz` file with these keys, or a folder with `x_train.npy` and so on; other
            content of the file or folder is ignored.
        targets: Whether every `x` needs a `y`.

    Raises:
        TaskError: If a file cannot be read, does not fit into memory, or there is no `x_train` or
            no `y` for an `x`.
    """
    arrays = _read_folder(path) if path.is_dir() else _read_npz(path)
    if "x_train" not in arrays:
        raise TaskError(
            f"{path} holds {sorted(arrays) or 'no array'}; give at least x_train, y_train"
        )
    for split in SPLITS:
        if targets and f"x_{split}" in arrays and f"y_{split}" not in arrays:
            raise TaskError(
                f"{path} has x_{split} but no y_{split}; give what each sample of it should give"
            )
    return arrays


_KEYS = tuple(f"{axis}_{split}" for split in SPLITS for axis in "xy")
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of numpy.savez
_FLOAT32_BYTES = 4


def _read_npz(path: Path) -> dict[str, Array]:
    """The arrays of an `.npz` file by key; other keys of the file are ignored."""
    with _told(path), path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise TaskError(f"{path} is one array; give an .npz, or a folder with x_train.npy etc.")
    with _told(path), zipfile.ZipFile(path) as archive:
        names = {key: f"{key}.npy" for key in _KEYS if f"{key}.npy" in archive.namelist()}
        members = {key: archive.getinfo(name) for key, name in names.items()}
        for member in members.values():
            if member.compress_type not in _COMPRESSIONS:
                raise ValueError(f"{member.filename} is compressed as numpy.savez does not")
        _require_room(path, (_opened(archive, member) for member in members.values()))
        return {key: _array(*_opened(archive, member)) for key, member in members.items()}


def _read_folder(path: Path) -> dict[str, Array]:
    files = {key: path / f"{key}.npy" for key in _KEYS}
    found = {key: file for key, file in files.items() if file.is_file()}
    with _told(path):
        _require_room(path, ((file.open("rb"), file.stat().st_size) for file in found.values()))
    arrays: dict[str, Array] = {}
    for key, file in found.items():
        with _told(file):
            arrays[key] = _array(file.open("rb"), file.stat().st_size)
    return arrays


def _opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[IO[bytes], int]:
    return archive.open(member), member.file_size


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn errors raised within the `with` block into a `TaskError` that names the file."""
    try:
        yield
    except TaskError:
        raise
    except FileNotFoundError as error:
        raise TaskError(f"there is no file {path}; give the path of an .npz file") from error
    # The headers of numpy files are Python literals; deep nesting in them raises other errors.
    except (
        *(OSError, ValueError, EOFError, RuntimeError, MemoryError, SyntaxError, TypeError),
        *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
    ) as error:
        raise TaskError(
            f"{path} cannot be read as numpy arrays ({error}); write it anew with numpy.savez or "
            "numpy.save, without Python objects"
        ) from error


def _require_room(path: Path, files: Iterable[tuple[IO[bytes], int]]) -> None:
    """Raise `TaskError` if the arrays and their copies in float32 do not fit into memory."""
    needed = 0
    for file, size in files:
        with file:
            shape, itemsize = _claimed(file, size)
        needed += math.prod(shape) * (itemsize + (_FLOAT32_BYTES if len(shape) > 1 else 0))
    if missing := shortage(needed):
        raise TaskError(f"to read {path} {missing}; give fewer or smaller samples")


def _array(file: IO[bytes], size: int) -> Array:
    with file:
        content = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError(f"there is more than the array of its {size} bytes")
        return content


def _claimed(file: IO[bytes], size: int) -> tuple[tuple[int, ...], int]:
    """The shape and the bytes per item that the header of a `.npy` file states.

    Raises:
        ValueError: If the header cannot be right for a file of `size` bytes.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"a .npy file of version {version}; numpy.save writes 1.0 for such arrays")
    shape, _, dtype = _HEADERS[version](file)
    told = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or not dtype.itemsize:
        raise ValueError(f"an array of shape {shape} and type {dtype} holds no numbers or texts")
    if told > size - file.tell():
        raise ValueError(
            f"its header tells of an array {shape} of {dtype}, {told:,} bytes, of which it has "
            f"{size - file.tell():,}"
        )
    return shape, dtype.itemsize


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
