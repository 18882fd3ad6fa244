"""The task of turning one image into another: of another size, sharper, cleaner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from nas.facts.usage import Scaling
from nas.tasks.aims import Aim, Prepared, tensors_of
from nas.tasks.array_files import ArrayFile, read_arrays
from nas.tasks.array_names import Slot
from nas.tasks.clean import IMAGE, Layout, channels_first, pixel_statistics
from nas.tasks.criteria import Pixels
from nas.tasks.image_files import read_images
from nas.tasks.image_layout import Found, counted, found_in, split_folders
from nas.tasks.images import image_port
from nas.tasks.picture import Channels, Style
from nas.tasks.section import SplitSection
from nas.tasks.source import Array, DataSource, Reading, Samples
from nas.tasks.targets import require_finite
from nas.tasks.task import Task, TaskError
from search_spaces.ops import Input

Pair = tuple[Array, Array]
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
    channels: Channels = 3
    shrink: Annotated[int, Field(ge=2)] | None = None
    peak: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If images cannot be read, have no partner, or differ in size.
        """
        found, reading = self._read()
        where = str(self.path)
        peak = self.peak or _peak(where, [y for _, y in found.values()])
        splits = {
            split: Samples(
                {IMAGE: _clean(f"{where} (x_{split})", x)}, _clean(f"{where} (y_{split})", y)
            )
            for split, (x, y) in found.items()
        }
        source = DataSource(self.path.stem, **splits, reading=reading)
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

    def _read(self) -> tuple[dict[str, Pair], Reading]:
        """The inputs and targets of each split, `(n, c, h, w)` in the pixel units of their file."""
        if self.path.is_dir() and not any(self.path.glob("*.npy")):
            return self._from_files()
        file = read_arrays(self.path, targets=self.shrink is None)
        return {split: self._from_arrays(file, x, y) for split, x, y in file.splits}, file.reading()

    def _from_arrays(self, file: ArrayFile, x: Slot, y: Slot) -> tuple[Array, Array]:
        images = channels_first(file.where(x), file.arrays[x], self.layout)
        if self.shrink is not None:
            return shrunk(file.where(x), images, self.shrink), images
        targets = channels_first(file.where(y), file.arrays[y], self.layout)
        if len(targets) != len(images):
            raise TaskError(
                f"{file.where(y)} has {len(targets)} images for {len(images)} in "
                f"{file.names.held[x]}; give pairs"
            )
        return images, targets

    def _from_files(self) -> tuple[dict[str, Pair], Reading]:
        folders = split_folders(self.path) or {"train": self.path}
        sides = ("",) if self.shrink is not None else ("x", "y")
        held = {
            side: {split: self._found(folder / side) for split, folder in folders.items()}
            for side in sides
        }
        if self.shrink is None:
            _require_partners(folders, held)
        read = {
            side: read_images(
                self.path,
                {split: found.images for split, found in splits.items()},
                Style(self.channels),
                remedy="scale all inputs to one size, and all targets",
            )
            for side, splits in held.items()
        }
        images = {
            side: {split: x.transpose(0, 3, 1, 2) for split, x in each.pixels.items()}
            for side, each in read.items()
        }
        reading = Reading(
            kind="a folder of images",
            origins={split: f"{folder.name}/" for split, folder in folders.items()},
            notes=tuple(dict.fromkeys(note for each in read.values() for note in each.notes)),
            passed_over=tuple(
                f"{counted(found.others)} in {folders[split] / side}"
                for side, splits in held.items()
                for split, found in splits.items()
                if found.others
            ),
        )
        if self.shrink is None:
            return {split: (images["x"][split], images["y"][split]) for split in folders}, reading
        small = {s: shrunk(str(self.path), x, self.shrink) for s, x in images[""].items()}
        return {split: (small[split], images[""][split]) for split in folders}, reading

    def _found(self, folder: Path) -> Found:
        found = found_in(folder, deep=False)
        if not found.images:
            raise TaskError(
                f"{folder} holds no images; give some, and set shrink if images stand alone"
            )
        return found


def _require_partners(folders: Mapping[str, Path], held: Mapping[str, dict[str, Found]]) -> None:
    """Refuse images without a partner of the same name."""
    for split, folder in folders.items():
        names = [[file.stem for file in held[side][split].images] for side in "xy"]
        if lonely := sorted({*names[0]} ^ {*names[1]}):
            raise TaskError(
                f"{folder} has {len(lonely):,} names in one of x and y only, such as "
                f"{lonely[0]!r}; give an image with that name to both"
            )
        for side, stems in zip("xy", names, strict=True):
            if twice := sorted(name for name, count in Counter(stems).items() if count > 1):
                raise TaskError(
                    f"{folder / side} has several images called {twice[0]!r} with different "
                    "endings; keep one"
                )


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
    highest = max(images.max() for images in targets)
    # 12 bits in files of 16: against a white of 16 bits, any error would look small.
    whole = kinds != {"uint16"} or highest > _PEAKS["uint16"] / 2
    if len(kinds) == 1 and kinds <= {*_PEAKS} and whole:
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
