"""The task of images in an `.npz` file, or in `.npy` files of one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nas.tasks.array_files import SPLITS, Array, read_arrays
from nas.tasks.clean import Layout, labelled
from nas.tasks.images import ImageSection
from nas.tasks.source import DataSource, Samples


class ArraysTask(ImageSection):
    """A task section for numpy arrays.

    The arrays `x_train`, `x_validation` and `x_test` hold images; `y_train`, `y_validation` and
    `y_test` hold their classes. Only the training arrays are required.

    Attributes:
        path: An `.npz` file with these keys, or a folder with `x_train.npy` and so on.
        layout: The order of the axes; `auto` takes the axis of length 1 or 3 for the channels.
    """

    kind: Literal["arrays"] = "arrays"
    path: Path
    layout: Layout = "auto"

    def read(self) -> DataSource:
        """The images and labels of the file or folder.

        Raises:
            TaskError: If the file cannot be read or does not hold such arrays.
        """
        arrays = read_arrays(self.path)
        parts = {s: self._labelled(arrays, s) for s in SPLITS if f"x_{s}" in arrays}
        return DataSource(self.path.stem, **parts)

    def _labelled(self, arrays: dict[str, Array], split: str) -> Samples:
        where = f"{self.path} (x_{split}, y_{split})"
        return labelled(where, arrays[f"x_{split}"], arrays[f"y_{split}"], layout=self.layout)
