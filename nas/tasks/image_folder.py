"""The task of a folder of images with one subfolder per class."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from nas.tasks.clean import labelled
from nas.tasks.image_files import read_images
from nas.tasks.image_labels import classes_in
from nas.tasks.image_layout import (
    ClassFolders,
    class_folders,
    counted,
    others_beside,
    split_folders,
)
from nas.tasks.images import ImageSection
from nas.tasks.picture import Background, Channels, Fit, Style, imaging
from nas.tasks.source import DataSource, Reading
from nas.tasks.task import TaskError

_REMEDY = "set image_size, the side of a square into which each is scaled, such as image_size = 64"


class FolderTask(ImageSection):
    """A task section for image files in folders.

    Images lie at `path/CLASS/NAME.png` or in folders below `CLASS`; or at
    `path/train/CLASS/NAME.png` with folders for validation and test beside `train`. A table may
    give the classes instead; then the folders mean nothing.

    Attributes:
        path: The folder.
        image_size: Side in pixels of the square into which every image is scaled. Where left out,
            all images must have the same size.
        fit: How an image that is no square is brought into the square: `pad` adds black, `crop`
            cuts off both ends of the longer side, `stretch` changes the proportions.
        crop_share: The share of the shorter side that `crop` leaves: networks of ImageNet are
            tested on the inner 0.875 of a photo.
        channels: 3 reads images in colour, 1 in grey.
        background: The colour behind transparent pixels.
        labels: A table (.csv, .tsv) of the class of each image, if folders are no classes.
        file: The column of this table with the path or name of an image.
        label: The column of this table with its class.
    """

    path: Path
    image_size: Annotated[int, Field(ge=1)] | None = None
    fit: Fit = "pad"
    crop_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    channels: Channels = 3
    background: Background = "black"
    labels: Path | None = None
    file: str = "file"
    label: str = "label"

    @model_validator(mode="after")
    def _share_of_a_crop(self) -> FolderTask:
        if self.crop_share < 1 and (self.fit != "crop" or self.image_size is None):
            raise ValueError(
                f"crop_share = {self.crop_share:g} is for images that are cut to a size; set "
                'fit = "crop" and image_size, or leave crop_share out'
            )
        return self

    def read(self) -> DataSource:
        """All images of the folder; the label of an image is the name of its class.

        Raises:
            TaskError: If a folder or an image cannot be read, or images differ in size.
        """
        if not self.path.is_dir():
            fault = f"{self.path} is a file" if self.path.exists() else f"there is no {self.path}"
            raise TaskError(
                f"{fault}; give a folder with one folder of images per class, and unpack an archive"
            )
        imaging()
        splits = {} if self.labels is not None else split_folders(self.path)
        folders = splits or {"train": self.path}
        found = {split: self._classes(folder) for split, folder in folders.items()}
        files = {
            split: [file for files in each.files.values() for file in files]
            for split, each in found.items()
        }
        style = Style(self.channels, self.image_size, self.fit, self.background, self.crop_share)
        read = read_images(self.path, files, style, remedy=_REMEDY)
        parts = {
            split: labelled(str(self.path), pixels, _labels(found[split]), layout="nhwc")
            for split, pixels in read.pixels.items()
        }
        endings = Counter(file.suffix.lower() for each in files.values() for file in each)
        passed_over = [over for each in found.values() for over in each.passed_over]
        reading = Reading(
            kind=f"a folder of images ({counted(endings)})",
            origins={split: f"{folder.name}/" for split, folder in folders.items()},
            notes=read.notes,
            passed_over=(*others_beside(self.path, splits), *passed_over),
        )
        return DataSource(self.path.resolve().name, **parts, reading=reading)

    def _classes(self, folder: Path) -> ClassFolders:
        """The images of a split by class."""
        if self.labels is None:
            for key in ("file", "label"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise TaskError(
                        f"{self.path}: {key} names a column of the table labels; give labels too, "
                        f"or leave {key} out"
                    )
            return class_folders(folder)
        return classes_in(folder, self.labels, file=self.file, label=self.label)

    def about_images(self) -> str:
        """What raw images are and how they get their size."""
        colours = "red, green and blue" if self.channels == 3 else "grey"
        ways = {
            "pad": "scaled as a whole to fit into {0} x {0} pixels and padded with black",
            "crop": "scaled and cut around its centre to {0} x {0} pixels",
            "stretch": "stretched to {0} x {0} pixels",
        }
        way = "padded with black around its centre to a square"
        if self.image_size is not None:
            way = ways[self.fit].format(self.image_size)
        cut = ""
        if self.crop_share < 1:
            cut = f"; the outer parts are left out, {1 - self.crop_share:g} of the shorter side"
        return (
            f"The pixels of an image file, {colours}, turned as its EXIF data say; transparent "
            f"pixels are {self.background}; an image that is not square is {way}{cut}."
        )


def _labels(found: ClassFolders) -> np.ndarray:
    """The class of each image; equal names have equal texts, however a disk writes accents."""
    names = [name for name, files in found.files.items() for _ in files]
    return np.array([unicodedata.normalize("NFC", name) for name in names])
