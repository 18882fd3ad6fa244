"""The task of numpy arrays: images or features, with a class or with values each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nas.tasks.aims import classified, regressed
from nas.tasks.array_files import Array, read_arrays
from nas.tasks.array_names import Slot
from nas.tasks.classes import class_labels
from nas.tasks.clean import IMAGE, Layout, clean_images
from nas.tasks.features import FEATURES, clean_features, prepared_features
from nas.tasks.images import ImageSection, prepared_images
from nas.tasks.source import DataSource, Samples
from nas.tasks.targets import Meaning, meaning, require_targets, values
from nas.tasks.task import Task, TaskError


class ArraysTask(ImageSection):
    """A task section for numpy arrays.

    The arrays `x_train`, `x_validation` and `x_test` hold images or features; `y_train`,
    `y_validation` and `y_test` hold their targets. Only the training arrays are required. They are
    found under their usual names too, such as `X_train`, `train_images`, `x_val`, or `images` and
    `labels` (`nas.tasks.array_names`).

    Attributes:
        path: An `.npz` file with these arrays, or a folder with `x_train.npy` and so on.
        keys: The name of each array, such as `{ x_train = "arr_0", y_train = "arr_1" }`. If left
            out, arrays are found by their usual names.
        layout: The order of the axes: images, or `features` for measured values along the last
            axis. `auto` takes three axes for grey images, and of four axes the one of length 1 or 3
            for the channels; all else are features.
        target: Whether targets are classes or the values of a regression. If left out, the targets
            decide (`nas.tasks.targets.meaning`); targets that could be both are an error.
        unit: The unit of the values, for reports.
    """

    path: Path
    keys: dict[Slot, str] | None = None
    layout: Layout | Literal["features"] = "auto"
    target: Meaning | None = None
    unit: str = ""

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If the file cannot be read or does not hold such arrays, or a key is given
                that means nothing for such a task.
        """
        file = read_arrays(self.path, keys=self.keys)
        arrays = file.arrays
        images = self._holds_images(arrays["x_train"])
        for _, x, y in file.splits:
            where = f"{self.path} ({file.names.held[x]}, {file.names.held[y]})"
            require_targets(where, len(arrays[x]), arrays[y])
        kind = self.target or meaning(file.where("y_train"), arrays["y_train"])
        self._require_use(images=images, kind=kind)
        parts = {
            split: Samples(
                self._inputs(file.where(x), arrays[x], images=images),
                self._targets(file.where(y), arrays[y], kind),
            )
            for split, x, y in file.splits
        }
        source = DataSource(self.path.stem, **parts, reading=file.reading())
        if kind == "classes":
            divided, aim = classified(self, source, self.label_smoothing)
        else:
            divided, aim = regressed(self, source, self.unit)
        inputs = (
            prepared_images(divided.train, self.augment)
            if images
            else prepared_features(divided.train)
        )
        return aim.task(source.name, divided, inputs)

    def _holds_images(self, inputs: Array) -> bool:
        return inputs.ndim in (3, 4) if self.layout == "auto" else self.layout != "features"

    def _require_use(self, *, images: bool, kind: Meaning) -> None:
        """Refuse keys that would have no effect."""
        idle = {
            "augment": (not images, "images, but the inputs are features"),
            "label_smoothing": (kind != "classes", "classes, but the targets are values"),
            "unit": (kind == "classes", "values, but the targets are classes"),
        }
        for key, (unused, use) in idle.items():
            # A resolved recipe states every key, so a default says nothing.
            if unused and getattr(self, key) != type(self).model_fields[key].default:
                raise TaskError(f"{self.path}: {key} is for {use}; leave it out")

    def _inputs(self, where: str, inputs: Array, *, images: bool) -> dict[str, Array]:
        if images and self.layout != "features":
            return {IMAGE: clean_images(where, inputs, self.layout)}
        return {FEATURES: clean_features(where, inputs)}

    def _targets(self, where: str, targets: Array, kind: Meaning) -> Array:
        return class_labels(where, targets) if kind == "classes" else values(where, targets)
