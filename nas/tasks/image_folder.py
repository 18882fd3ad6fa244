"""The task of a folder of images with one subfolder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nas.tasks.clean import labelled
from nas.tasks.image_files import SUFFIXES, image_files, read_images
from nas.tasks.images import ImageSection
from nas.tasks.source import DataSource, Samples
from nas.tasks.task import TaskError


class FolderTask(ImageSection):
    """A task section for image files in folders.

    Images lie at `path/CLASS/*.png`, or at `path/train/CLASS/*.png` with `validation/` and `test/`
    beside `train/`.

    Attributes:
        path: The folder.
        image_size: Side in pixels of the square into which every image is scaled; proportions are
            kept. Where left out, all images must have the same size.
        channels: 3 reads images in colour, 1 in grey.
    """

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

    def about_images(self) -> str:
        """What raw images are and how they get their size."""
        colours = "red, green and blue" if self.channels == 3 else "grey"
        side = self.image_size
        scaled = "" if side is None else f"scaled as a whole to fit into {side} x {side} pixels, "
        return (
            f"The pixels of an image file, {colours}; an image is {scaled}padded with black around "
            "its centre to a square."
        )

    def _images(self, folder: Path) -> Samples:
        files = image_files(folder, "*/*")
        if not files:
            raise TaskError(
                f"{folder} holds no images; put them into one folder per class, as "
                f"{folder}/CLASS/NAME.png ({', '.join(sorted(SUFFIXES))})"
            )
        images = read_images(files, self.channels, size=self.image_size)
        labels = np.array([file.parent.name for file in files])
        return labelled(str(folder), images, labels, layout="nhwc")
