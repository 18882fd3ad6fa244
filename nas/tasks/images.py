"""The keys and the preparation that all tasks of image classification share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from nas.tasks.augment import Augment
from nas.tasks.classes import numbered
from nas.tasks.clean import IMAGE, pixel_statistics
from nas.tasks.criteria import Classification
from nas.tasks.section import SplitSection
from nas.tasks.source import DataSource, Samples
from nas.tasks.task import Batch, Split, Task, TrainSplit
from search_spaces.ops import Input


class ImageSection(SplitSection):
    """The base of all sections for image classification.

    Images are normalised with the mean and deviation of the training split.

    Attributes:
        augment: The augmentation of training images.
        label_smoothing: The share of each target that training spreads evenly over all classes.
    """

    augment: Augment = Augment()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def read(self) -> DataSource:
        """The images and labels of the source; raises `TaskError` if they cannot be read."""
        raise NotImplementedError(f"{type(self).__name__} must define read")

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If the source cannot be read, or a split or class has no images.
        """
        source, names = numbered(self.read())
        parts = self.divided(source, stratified=True)
        mean, std = pixel_statistics(parts.train.inputs[IMAGE])
        augmentation = ImageAugmentation(self.augment, torch.from_numpy(-mean / std).float())
        return Task(
            name=source.name,
            inputs=(Input(IMAGE, parts.train.shapes[IMAGE]),),
            output=(len(names),),
            criterion=Classification(self.label_smoothing),
            train=TrainSplit(*_tensors(parts.train, mean, std), augmentation),
            validation=Split(*_tensors(parts.validation, mean, std)),
            _test=Split(*_tensors(parts.test, mean, std)),
            metadata={
                "classes": json.dumps(names),
                "normalization": json.dumps({"mean": mean.tolist(), "std": std.tolist()}),
            },
        )


@dataclass(frozen=True, eq=False)
class ImageAugmentation:
    """The augmentation of a batch of normalised images.

    Attributes:
        augment: The augmentation.
        black: The normalised value of a zero pixel, `(c,)`.
    """

    augment: Augment
    black: Tensor

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with augmented images; all randomness comes from `rng`."""
        inputs, targets = batch
        images = inputs[IMAGE]
        return {IMAGE: self.augment(images, self.black.to(images.device), rng)}, targets


def _tensors(
    part: Samples, mean: NDArray[np.float64], std: NDArray[np.float64]
) -> tuple[dict[str, Tensor], Tensor]:
    images = np.array(part.inputs[IMAGE], dtype=np.float32, order="C")
    images -= mean.astype(np.float32).reshape(1, -1, 1, 1)
    images /= std.astype(np.float32).reshape(1, -1, 1, 1)
    return {IMAGE: torch.from_numpy(images)}, torch.from_numpy(part.targets)
