"""The task of a folder of images with one subfolder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from nas.memory import shortage
from nas.tasks.clean import Array, DataSource, Labelled, labelled
from nas.tasks.section import SplitSection
from nas.tasks.task import TaskError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class FolderTask(SplitSection):
    """A task section for image files in folders.

    Images lie at `path/CLASS/*.png`, or at `path/train/CLASS/*.png` with `validation/` and `test/`
    beside `train/`.

    Attributes:
        path: The folder.
        image_size: Side in pixels of the square into which every image is scaled; proportions are
            kept. Where left out, all images must have the same size.
        channels: 3 reads images in colour, 1 in grey.
    """

    kind: Literal["folder"] = "folder"
    path: Path
    image_size: Annotated[int, Field(ge=1)] | None = None
    channels: Literal[1, 3] = 3

    def read(self) -> DataSource:
        """All images of the folder; the label of an image is the name of its class.

        Raises:
            TaskError: If a folder or an image cannot be read, or images differ in size.
        """
        if not self.path.is_dir():
            raise TaskError(
                f"there is no folder {self.path}; give a folder with one folder per class"
            )
        name = self.path.resolve().name
        if not (self.path / "train").is_dir():
            return DataSource(name, self._images(self.path))
        splits = ("train", "validation", "test")
        there = [split for split in splits if (self.path / split).is_dir()]
        return DataSource(name, **{split: self._images(self.path / split) for split in there})

    def _images(self, folder: Path) -> Labelled:
        files = list(_files(folder))
        if not files:
            raise TaskError(
                f"{folder} holds no images; put them into one folder per class, as "
                f"{folder}/CLASS/NAME.png ({', '.join(sorted(_SUFFIXES))})"
            )
        first = self._pixels(files[0])
        side = max(first.shape[:2])
        # In bytes as they are read, and in float32 when they are normalised.
        if missing := shortage((1 + 4) * len(files) * side * side * self.channels):
            raise TaskError(
                f"to read the {len(files)} images of {folder} at {_size(first)} {missing}; give "
                "fewer images, or a smaller image_size"
            )
        images = np.empty((len(files), *first.shape), dtype=np.uint8)
        for row, file in enumerate(files):
            pixels = self._pixels(file)
            if pixels.shape != first.shape:
                raise TaskError(
                    f"{file} is {_size(pixels)} but {files[0]} is {_size(first)}; "
                    "set image_size to scale all images to one size"
                )
            images[row] = pixels
        labels = np.array([file.parent.name for file in files])
        return labelled(str(folder), images, labels, layout="nhwc")

    def _pixels(self, file: Path) -> Array:
        """The pixels of an image file, `(h, w, c)` uint8."""
        pillow = _pillow()
        try:
            with pillow.open(file) as opened:
                image = opened.convert("RGB" if self.channels == 3 else "L")
        except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
            raise TaskError(
                f"{file} cannot be read as an image ({error}); repair or remove it"
            ) from error
        if self.image_size is not None:
            image = _fitted(image, self.image_size)
        return np.asarray(image).reshape(image.height, image.width, self.channels)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in _SUFFIXES and not path.parent.name.startswith("."):
            yield path


def _fitted(image: Any, size: int) -> Any:
    """The image scaled to fit into `size` x `size` pixels; the rest of the square is black."""
    longer = max(image.size)
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    square = _pillow().new(image.mode, (size, size))
    square.paste(image.resize((width, height)), ((size - width) // 2, (size - height) // 2))
    return square


def _size(pixels: Array) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]} pixels"


def _pillow() -> Any:
    try:
        from PIL import Image  # an extra, needed for folders only
    except ImportError as error:
        raise TaskError(
            "reading a folder of images needs Pillow; run: pip install 'elastic-nas[images]'"
        ) from error
    return Image
