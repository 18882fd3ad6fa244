"""The task of turning one image into another: of another size, sharper, cleaner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nas.tasks.aims import Aim, Prepared, tensors_of
from nas.tasks.array_files import SPLITS, read_arrays
from nas.tasks.clean import IMAGE, Layout, channels_first, pixel_statistics
from nas.tasks.criteria import Pixels
from nas.tasks.image_files import SUFFIXES, image_files, read_images
from nas.tasks.images import image_port
from nas.tasks.section import SplitSection
from nas.tasks.source import Array, DataSource, Samples
from nas.tasks.targets import require_finite
from nas.tasks.task import Task, TaskError
from nas.usage import Scaling
from search_spaces.ops import Input

_PEAKS = {"uint8": 255.0, "uint16": 65535.0}


class ImagePairsTask(SplitSection):
    """A task section for pairs of images, of which the second is to be made from the first.

    The inputs are the arrays `x_train`, `x_validation` and `x_test` of a file or folder, and the
    targets `y_train` and so on. In a folder of image files, these are `x/NAME.png` and
    `y/NAME.png`, or `train/x/NAME.png` and so on. All inputs have one size, and all targets.

    Attributes:
        path: An `.npz` file, a folder with `x_train.npy` and so on, or a folder of image files.
        layout: The order of the axes of arrays; `auto` takes the axis of length 1 or 3 for the
            channels.
        channels: 3 reads image files in colour, 1 in grey.
        shrink: The side of a square of pixels, if images stand alone (`x_train`, or `NAME.png`
            without `x` and `y`). These images are the targets, and each pixel of an input is the
            mean of such a square.
        peak: The difference between black and white. If left out, the difference follows from the
            type of the pixels, which must be integers of 8 or 16 bits, or floats from 0 to 1.
    """

    path: Path
    layout: Layout = "auto"
    channels: Literal[1, 3] = 3
    shrink: Annotated[int, Field(ge=2)] | None = None
    peak: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If images cannot be read, have no partner, or differ in size.
        """
        found = dict(self._read())
        where = str(self.path)
        peak = self.peak or _peak(where, [y for _, y in found.values()])
        splits = {
            split: Samples(
                {IMAGE: _clean(f"{where} (x_{split})", x)}, _clean(f"{where} (y_{split})", y)
            )
            for split, (x, y) in found.items()
        }
        source = DataSource(self.path.stem, **splits)
        parts = self.divided(source, stratified=False)
        mean, std = _statistics(parts.train.inputs[IMAGE])
        scaling, trained = Scaling((mean,), (std,)), parts.train
        read = image_port("The pixels of the image to improve.", trained.inputs[IMAGE], scaling)
        white = f"The pixels of the improved image; white is {peak:g} above black."
        port = image_port(white, trained.targets, scaling)

        def standard(samples: Samples) -> Samples:
            return Samples(
                {name: _scaled(x, mean, std) for name, x in samples.inputs.items()},
                _scaled(samples.targets, mean, std),
            )

        inputs = Prepared((Input(IMAGE, trained.shapes[IMAGE]),), tensors_of, {IMAGE: read})
        aim = Aim(trained.targets.shape[1:], Pixels(peak=peak / std), port)
        return aim.task(source.name, parts.changed(standard), inputs)

    def _read(self) -> Iterator[tuple[str, tuple[Array, Array]]]:
        """The inputs and targets of each split, `(n, c, h, w)` in the pixel units of their file."""
        if self.path.is_dir() and not (self.path / "x_train.npy").is_file():
            folders = {split: self.path / split for split in SPLITS}
            if not folders["train"].is_dir():
                folders = {"train": self.path}
            for split, folder in folders.items():
                if folder.is_dir():
                    yield split, self._from_files(folder)
            return
        arrays = read_arrays(self.path, targets=self.shrink is None)
        for split in SPLITS:
            if f"x_{split}" in arrays:
                yield split, self._from_arrays(arrays, split)

    def _from_arrays(self, arrays: dict[str, Array], split: str) -> tuple[Array, Array]:
        where = f"{self.path} (x_{split})"
        images = channels_first(where, arrays[f"x_{split}"], self.layout)
        if self.shrink is not None:
            return shrunk(where, images, self.shrink), images
        where = f"{self.path} (y_{split})"
        targets = channels_first(where, arrays[f"y_{split}"], self.layout)
        if len(targets) != len(images):
            raise TaskError(
                f"{where} has {len(targets)} images for {len(images)} in x_{split}; give pairs"
            )
        return images, targets

    def _from_files(self, folder: Path) -> tuple[Array, Array]:
        if self.shrink is not None:
            images = self._images(folder, "*")
            return shrunk(str(folder), images, self.shrink), images
        names = [[file.stem for file in image_files(folder, f"{side}/*")] for side in "xy"]
        lonely = sorted({*names[0]} ^ {*names[1]})
        if lonely:
            raise TaskError(
                f"{folder} has {lonely[0]!r} in one of x and y only; give an image with that name "
                "to both"
            )
        return self._images(folder, "x/*"), self._images(folder, "y/*")

    def _images(self, folder: Path, pattern: str) -> Array:
        files = image_files(folder, pattern)
        if not files:
            raise TaskError(
                f"{folder} holds no images {pattern} ({', '.join(sorted(SUFFIXES))}); give some, "
                "and set shrink if images stand alone"
            )
        return read_images(files, self.channels).transpose(0, 3, 1, 2)


def shrunk(where: str, images: Array, factor: int) -> Array:
    """The means of squares of `factor` pixels a side: `(n, c, h, w)` at that part of the size.

    Raises:
        TaskError: If the size is no multiple of `factor`.
    """
    count, channels, height, width = images.shape
    if height % factor or width % factor:
        raise TaskError(
            f"{where} has images of {width} x {height} pixels, which shrink = {factor} does not "
            "divide; cut them or take another factor"
        )
    squares = images.reshape(count, channels, height // factor, factor, width // factor, factor)
    return squares.mean(axis=(3, 5), dtype=np.float32)


def _clean(where: str, images: Array) -> Array:
    require_finite(where, "pixels", images)
    return np.asarray(images, dtype=np.float32)


def _statistics(images: Array) -> tuple[float, float]:
    """One mean and one deviation of all pixels, so that inputs and targets have the same unit."""
    means, deviations = pixel_statistics(images)
    mean = means.mean()
    return float(mean), float(np.sqrt((deviations**2 + (means - mean) ** 2).mean()))


def _scaled(images: Array, mean: float, std: float) -> Array:
    return (images - np.float32(mean)) / np.float32(std)


def _peak(where: str, targets: list[Array]) -> float:
    """The difference between black and white that the type of the targets tells."""
    kinds = {str(images.dtype) for images in targets}
    if len(kinds) == 1 and kinds <= {*_PEAKS}:
        return _PEAKS[kinds.pop()]
    if all(
        images.dtype.kind == "f" and images.min() >= 0 and images.max() <= 1 for images in targets
    ):
        return 1.0
    low, high = (f(images) for f in (np.min, np.max) for images in targets[:1])
    raise TaskError(
        f"{where} has pixels of type {', '.join(sorted(kinds))} from {low} to {high}, which does "
        "not tell what white is; set peak to the difference between black and white"
    )
