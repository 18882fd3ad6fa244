"""Arrays in an `.npz` file or in `.npy` files of one folder, read without trust in the files."""

from __future__ import annotations

import contextlib
import functools
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nas.files.sheet import absent
from nas.memory import shortage
from nas.tasks.array_names import SLOTS, SPLITS, Names, Slot, found
from nas.tasks.source import Reading
from nas.tasks.task import TaskError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """The arrays of a task in a file or folder.

    Attributes:
        path: The file or folder.
        arrays: Slot such as `x_train` -> the array.
        names: The names of the arrays in the file.
    """

    path: Path
    arrays: Mapping[Slot, Array]
    names: Names

    def where(self, slot: Slot) -> str:
        """The file with the name of an array in it, for errors."""
        return f"{self.path} ({self.names.held[slot]})"

    @property
    def splits(self) -> Iterator[tuple[str, Slot, Slot]]:
        """The splits that are there, each with the slots of its inputs and of its targets."""
        for place, split in enumerate(SPLITS):
            inputs, targets = SLOTS[2 * place : 2 * place + 2]
            if inputs in self.arrays:
                yield split, inputs, targets

    def reading(self) -> Reading:
        """What was read, and what was passed over."""
        held = self.names.held
        return Reading(
            kind="a folder of numpy arrays" if self.path.is_dir() else "a file of numpy arrays",
            origins={
                split: ", ".join(held[slot] for slot in slots if slot in held)
                for split, *slots in self.splits
            },
            notes=self.names.notes,
            passed_over=tuple(f"{name}: no array of the task" for name in self.names.others),
        )


def read_arrays(
    path: Path, *, targets: bool = True, keys: Mapping[Slot, str] | None = None
) -> ArrayFile:
    """The arrays `x_train`, `y_train`, `x_validation` and so on of a file or folder.

    Args:
        path: An `.npz` file, or a folder of `.npy` files.
        targets: Whether every `x` needs a `y`.
        keys: The name of each array. If left out, arrays are found by their usual names.

    Raises:
        TaskError: If a file cannot be read, does not fit into memory, or there is no `x_train` or
            no `y` for an `x`.
    """
    find = functools.partial(found, str(path), given=keys, targets=targets)
    return _read_folder(path, find) if path.is_dir() else _read_npz(path, find)


Find = Callable[[Collection[str]], Names]
_NPY = ".npy"
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of numpy.savez
_FLOAT32_BYTES = 4


def _read_npz(path: Path, find: Find) -> ArrayFile:
    with _told(path), path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise TaskError(f"{path} is one array; give an .npz, or a folder with x_train.npy etc.")
    with _told(path), zipfile.ZipFile(path) as archive:
        there = [name for name in archive.namelist() if name.endswith(_NPY)]
        names = find([name.removesuffix(_NPY) for name in there])
        members: dict[Slot, zipfile.ZipInfo] = {
            slot: archive.getinfo(f"{name}{_NPY}") for slot, name in names.held.items()
        }
        for member in members.values():
            if member.compress_type not in _COMPRESSIONS:
                raise ValueError(f"{member.filename} is compressed as numpy.savez does not")
        _require_room(path, (_opened(archive, member) for member in members.values()))
        arrays: dict[Slot, Array] = {
            slot: _array(*_opened(archive, member)) for slot, member in members.items()
        }
    return ArrayFile(path, arrays, names)


def _read_folder(path: Path, find: Find) -> ArrayFile:
    names = find([file.stem for file in path.glob(f"*{_NPY}")])
    files: dict[Slot, Path] = {slot: path / f"{name}{_NPY}" for slot, name in names.held.items()}
    with _told(path):
        _require_room(path, ((file.open("rb"), file.stat().st_size) for file in files.values()))
    arrays: dict[Slot, Array] = {}
    for slot, file in files.items():
        with _told(file):
            arrays[slot] = _array(file.open("rb"), file.stat().st_size)
    return ArrayFile(path, arrays, names)


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
        raise TaskError(f"{absent(path)}; give the path of an .npz file") from error
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
