"""Arrays in an `.npz` file, or in `.npy` files of one folder."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.lib.npyio import NpzFile

from nas.tasks.clean import Array, Labelled, Layout, Source, labelled
from nas.tasks.section import SplitSection
from nas.tasks.task import TaskError

_SPLITS = ("train", "validation", "test")


class ArraysTask(SplitSection):
    """Images `x_train`, `x_validation`, `x_test` with classes `y_train`, `y_validation`, `y_test`.

    Only the training arrays must be there.

    Attributes:
        path: An `.npz` file with these keys, or a folder with `x_train.npy` and so on.
        layout: The order of the axes; `auto` takes the axis of length 1 or 3 for the channels.
    """

    kind: Literal["arrays"] = "arrays"
    path: Path
    layout: Layout = "auto"

    def read(self) -> Source:
        """The arrays of the file or folder."""
        arrays = _read_folder(self.path) if self.path.is_dir() else _read_npz(self.path)
        if "x_train" not in arrays:
            raise TaskError(
                f"{self.path} holds {sorted(arrays) or 'no array'}; give at least x_train, y_train"
            )
        parts = {s: self._labelled(arrays, s) for s in _SPLITS if f"x_{s}" in arrays}
        return Source(self.path.stem, **parts)

    def _labelled(self, arrays: dict[str, Array], split: str) -> Labelled:
        if f"y_{split}" not in arrays:
            raise TaskError(f"{self.path} has x_{split} but no y_{split}; give the class per image")
        where = f"{self.path} (x_{split}, y_{split})"
        return labelled(where, arrays[f"x_{split}"], arrays[f"y_{split}"], layout=self.layout)


_KEYS = tuple(f"{axis}_{split}" for split in _SPLITS for axis in "xy")


def _read_npz(path: Path) -> dict[str, Array]:
    """The arrays of the file that a task is made of."""
    content = _load(path)
    if isinstance(content, np.ndarray):
        raise TaskError(f"{path} is one array; give an .npz, or a folder with x_train.npy etc.")
    return content


def _read_folder(path: Path) -> dict[str, Array]:
    files = {key: path / f"{key}.npy" for key in _KEYS}
    return {key: cast("Array", _load(file)) for key, file in files.items() if file.is_file()}


def _load(path: Path) -> Array | dict[str, Array]:
    try:
        with path.open("rb") as file:
            content: Any = np.load(file, allow_pickle=False)
            if isinstance(content, NpzFile):
                return {key: content[key] for key in content.files if key in _KEYS}
            return content
    except FileNotFoundError as error:
        raise TaskError(f"there is no file {path}; give the path of an .npz file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TaskError(
            f"{path} cannot be read as numpy arrays ({error}); write it anew with numpy.savez or "
            "numpy.save, without Python objects"
        ) from error
