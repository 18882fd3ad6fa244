"""The keys that all task sections of a recipe share, and how a data source becomes a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from nas.tasks.augment import Augment
from nas.tasks.clean import DataSource, Labelled, balanced_order, class_codes, pixel_statistics
from nas.tasks.task import Normalization, Split, Task, TaskError, TrainSplit

Fraction = Annotated[float, Field(gt=0, lt=1)]


class SplitSection(BaseModel):
    """The base of all task sections: how images are divided into splits.

    Each kind of task adds the source of its images. Splits are stratified by class and determined
    by `seed`. Images are normalised with the mean and deviation of the training split.

    Attributes:
        validation_fraction: Share of the training images that is held out for the search; used if
            the source has no validation split.
        test_fraction: Share of all images that is held out for the report; used if the source has
            no test split.
        seed: The seed of the splits.
        limit: The largest number of training images to use; no limit where left out.
        augment: The augmentation of training images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    validation_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.2
    seed: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=2)] | None = None
    augment: Augment = Augment()

    def read(self) -> DataSource:
        """The images and labels of the source; raises `TaskError` if they cannot be read."""
        raise NotImplementedError(f"{type(self).__name__} must define read")

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If the source cannot be read, or a split or class has no images.
        """
        source = self.read()
        names = np.unique(source.train.labels)
        if len(names) < 2:
            raise TaskError(f"{source.name} has one class only, {names[0]}; give at least two")
        train, validation, test = self._split(_encoded(source, names))
        mean, std = pixel_statistics(train.images)
        black = torch.from_numpy(-mean / std).float()
        return Task(
            name=source.name,
            class_names=tuple(str(name) for name in names),
            normalization=Normalization(tuple(mean.tolist()), tuple(std.tolist())),
            train=TrainSplit(*_tensors(train, mean, std), self.augment, black),
            validation=Split(*_tensors(validation, mean, std)),
            _test=Split(*_tensors(test, mean, std)),
        )

    def _split(self, source: DataSource) -> tuple[Labelled, Labelled, Labelled]:
        rng = np.random.default_rng(self.seed)
        classes = int(source.train.labels.max()) + 1
        train = source.train.at(balanced_order(source.train.labels, rng))
        test, validation = source.test, source.validation
        if test is None:
            test, train = _divided(source.name, train, self.test_fraction, "test_fraction")
        if validation is None:
            validation, train = _divided(
                source.name, train, self.validation_fraction, "validation_fraction"
            )
        # The beginning and the rest of a balanced order are balanced too.
        train = train.at(slice(self.limit))
        missing = classes - len(np.unique(train.labels))
        if missing:
            raise TaskError(
                f"{source.name} has {missing} of {classes} classes without an image among its "
                f"{len(train.labels)} training images; raise limit or lower the held-out fractions"
            )
        return train, validation, test


def _encoded(source: DataSource, names: NDArray[np.generic]) -> DataSource:
    """The source with labels 0..k-1; raises `TaskError` if splits differ in image shape."""
    encoded: dict[str, Labelled] = {}
    for split in ("train", "validation", "test"):
        part: Labelled | None = getattr(source, split)
        if part is None:
            continue
        if part.images.shape[1:] != source.train.images.shape[1:]:
            raise TaskError(
                f"{source.name} has {split} images of shape {part.images.shape[1:]} but training "
                f"images of shape {source.train.images.shape[1:]} (channels, height, width); "
                "give all the same"
            )
        codes = class_codes(f"the {split} split of {source.name}", part.labels, names)
        encoded[split] = Labelled(part.images, codes)
    return replace(source, **encoded)


def _divided(
    name: str, whole: Labelled, fraction: float, setting: str
) -> tuple[Labelled, Labelled]:
    """The images that are held out from `whole`, and all others.

    Args:
        name: The source, for errors.
        whole: The images.
        fraction: The share that is held out.
        setting: The key of the recipe that sets the share, for errors.
    """
    count = len(whole.labels)
    held = round(fraction * count)
    if not 0 < held < count:
        raise TaskError(
            f"{name}: {setting} = {fraction} of {count} images leaves a split empty; "
            "give more images or another fraction"
        )
    return whole.at(slice(held)), whole.at(slice(held, None))


def _tensors(
    part: Labelled, mean: NDArray[np.float64], std: NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    images = np.array(part.images, dtype=np.float32, order="C")
    images -= mean.astype(np.float32).reshape(1, -1, 1, 1)
    images /= std.astype(np.float32).reshape(1, -1, 1, 1)
    return torch.from_numpy(images), torch.from_numpy(part.labels)
