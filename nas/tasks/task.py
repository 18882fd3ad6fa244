"""The type of a task: open training and validation splits, and a guarded test split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.tasks.augment import Augment
from search_spaces.ops import Input, Shape

Batch = tuple[Tensor, Tensor]
SearchSplit = Literal["train", "validation"]


class TaskError(ValueError):
    """The error for data that make no task.

    Its message names the source, the fault and the remedy.
    """


@dataclass(frozen=True, eq=False)
class Split:
    """Images with labels, ready for training or evaluation.

    Attributes:
        images: Normalised images, `(n, c, h, w)` float32.
        labels: Class of each image, `(n,)` int64 from 0.
    """

    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, *, rng: np.random.Generator | None = None) -> Iterator[Batch]:
        """Batches of `size` images; each image comes once, and the last batch may be smaller.

        Args:
            size: Images per batch.
            rng: Shuffles the images; without a generator they come in their order.

        Raises:
            ValueError: If `size` is below 1.
        """
        if size < 1:
            raise ValueError(f"a batch holds at least one image, given a size of {size}")
        order = None if rng is None else torch.from_numpy(rng.permutation(len(self)))
        for start in range(0, len(self), size):
            rows = slice(start, start + size) if order is None else order[start : start + size]
            yield self.images[rows], self.labels[rows]

    def to(self, device: torch.device | str) -> Split:
        """The same split held on `device`."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, eq=False)
class TrainSplit(Split):
    """The training images with their augmentation, as `supernets.train` reads them.

    Attributes:
        augment: The augmentation.
        black: The normalised value of a zero pixel, `(c,)`.
    """

    augment: Augment
    black: Tensor

    def batch(self, rows: NDArray[np.integer], rng: np.random.Generator) -> Batch:
        """The augmented images and the labels at `rows`; all randomness comes from `rng`."""
        index = torch.from_numpy(rows).to(self.images.device)
        return self.augment(self.images[index], self.black, rng), self.labels[index]

    def to(self, device: torch.device | str) -> TrainSplit:
        """The same split held on `device`."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            black=self.black.to(device),
        )


@dataclass(frozen=True)
class Normalization:
    """The normalisation of images, `(pixel - mean) / std` per channel; pixels as in the file."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Task:
    """A classification task on square images.

    Training, search and tuning use `train` and `validation`. Only the method `test_batches` gives
    access to the test split; it is for the figures of the final report.

    Attributes:
        name: The name of the task.
        class_names: The names of the classes, by label.
        normalization: The normalisation of images.
        train: The training images.
        validation: The images by which a search compares networks.
    """

    name: str
    class_names: tuple[str, ...]
    normalization: Normalization
    train: TrainSplit
    validation: Split
    _test: Split = field(repr=False)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """The number of image channels."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width of every image in pixels."""
        return self.train.images.shape[2]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of a network for the task."""
        return (Input("image", (self.channels, self.image_size, self.image_size)),)

    @property
    def output(self) -> Shape:
        """The shape of a network's output, per sample."""
        return (self.classes,)

    def batches(
        self, split: SearchSplit, size: int, *, rng: np.random.Generator | None = None
    ) -> Iterator[Batch]:
        """Batches of the training or validation split, without augmentation.

        Raises:
            TaskError: For any other split.
        """
        splits: dict[str, Split] = {"train": self.train, "validation": self.validation}
        if split not in splits:
            raise TaskError(
                f"a search sees 'train' and 'validation' only, given {split!r}; "
                "the final report reads the test split through test_batches"
            )
        return splits[split].batches(size, rng=rng)

    def calibration(self, images: int, size: int) -> list[Tensor]:
        """The first training images in batches; these are balanced by class and always the same.

        Args:
            images: How many images.
            size: Images per batch.
        """
        kept = self.train.images[:images]
        return list(kept.split(size))

    def test_batches(self, size: int) -> Iterator[Batch]:
        """Batches of the test split, for the final report and never for a decision."""
        return self._test.batches(size)

    def sizes(self) -> dict[str, int]:
        """The number of images per split."""
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self._test),
        }

    def to(self, device: torch.device | str) -> Task:
        """The same task with every split held on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            _test=self._test.to(device),
        )
