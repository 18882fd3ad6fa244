"""The keys and the preparation that all tasks of image classification share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from nas.facts.usage import Port, Scaling, numbers
from nas.tasks.aims import Prepared, classified
from nas.tasks.augment import Augment
from nas.tasks.clean import IMAGE, pixel_statistics
from nas.tasks.section import SplitSection
from nas.tasks.source import Array, DataSource, Samples
from nas.tasks.task import Batch, Task
from search_spaces.ops import Input

PIXELS = (
    "Pixels with the numbers that they have in the data; an image that is not square has zeros "
    "around its centre."
)


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
        source = self.read()
        parts, aim = classified(self, source, self.label_smoothing)
        inputs = prepared_images(parts.train, self.augment, about=self.about_images())
        return aim.task(source.name, parts, inputs)

    def about_images(self) -> str:
        """What raw images are and how they become square, in sentences for exported files."""
        return PIXELS


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


def prepared_images(train: Samples, augment: Augment, *, about: str = PIXELS) -> Prepared:
    """The images less their mean in deviations, which are those of the training split's channels.

    Args:
        train: The training split.
        augment: The augmentation of training images.
        about: What raw images are.
    """
    mean, std = pixel_statistics(train.inputs[IMAGE])
    center, spread = (each.astype(np.float32).reshape(1, -1, 1, 1) for each in (mean, std))

    def tensors(samples: Samples) -> dict[str, Tensor]:
        images = np.array(samples.inputs[IMAGE], dtype=np.float32, order="C")
        images -= center
        images /= spread
        return {IMAGE: torch.from_numpy(images)}

    return Prepared(
        specs=(Input(IMAGE, train.shapes[IMAGE]),),
        tensors=tensors,
        ports={IMAGE: image_port(about, train.inputs[IMAGE], Scaling(numbers(mean), numbers(std)))},
        augment=ImageAugmentation(augment, torch.from_numpy(-mean / std).float()),
    )


def image_port(about: str, images: Array, scaling: Scaling) -> Port:
    """The meaning of an input or an output that is an image; `images` are raw, `(n, c, h, w)`."""
    others = (0, 2, 3) if len(scaling.mean) > 1 else None
    low, high = numbers(images.min(others)), numbers(images.max(others))
    return Port(about, ("channel", "height", "width"), scaling, low=low, high=high)
