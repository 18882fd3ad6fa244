"""The type of a task: open training and validation splits, and a guarded test split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from nas.facts.data_facts import DataFacts
from nas.facts.usage import Usage
from nas.tasks.criterion import Criterion, CriterionError
from search_spaces.ops import Input, Shape
from supernets.inputs import Inputs, rows, to_device

Batch = tuple[Inputs, Tensor]
SearchSplit = Literal["train", "validation"]
Augmentation = Callable[[Batch, np.random.Generator], Batch]


class TaskError(ValueError):
    """The error for data that make no task.

    Its message names the source, the fault and the remedy.
    """


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with targets, ready for training or evaluation.

    Attributes:
        inputs: Input name -> the values of all samples, `(n, *shape)`.
        targets: The target of each sample, `(n, ...)`.
    """

    inputs: Inputs = field(repr=False)
    targets: Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, index: Tensor | slice) -> Batch:
        """The inputs and targets at `index`, in that order."""
        return rows(self.inputs, index), self.targets[index]

    def batches(self, size: int, *, rng: np.random.Generator | None = None) -> Iterator[Batch]:
        """Batches of `size` samples; each comes once, and the last batch may be smaller.

        Args:
            size: Samples per batch.
            rng: Shuffles the samples; without a generator they come in their order.

        Raises:
            ValueError: If `size` is below 1.
        """
        if size < 1:
            raise ValueError(f"a batch holds at least one sample, given a size of {size}")
        order = None if rng is None else torch.from_numpy(rng.permutation(len(self)))
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.at(part if order is None else order[part])

    def to(self, device: torch.device | str) -> Split:
        """The same split held on `device`."""
        inputs = to_device(self.inputs, device)
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True, eq=False)
class TrainSplit(Split):
    """The training samples with their augmentation, as `supernets.training.train` reads them.

    Attributes:
        augment: A function that changes a batch at random; None changes nothing.
    """

    augment: Augmentation | None = None

    def batch(self, rows: NDArray[np.integer], rng: np.random.Generator) -> Batch:
        """The augmented samples at `rows`; all randomness comes from `rng`."""
        batch = self.at(torch.from_numpy(rows).to(self.targets.device))
        return batch if self.augment is None else self.augment(batch, rng)

    def to(self, device: torch.device | str) -> TrainSplit:
        """The same split held on `device`."""
        return replace(self, **vars(super().to(device)))


@dataclass(frozen=True, eq=False)
class Task:
    """A problem for networks: their inputs and output, the criterion, and data in three splits.

    Training, search and tuning use `train` and `validation`. Only the method `test_batches` gives
    access to the test split; it is for the figures of the final report.

    Attributes:
        name: The name of the task.
        inputs: The inputs of a network, each with name, shape per sample and type.
        output: The shape of a network's output per sample: `(10,)` for ten classes.
        criterion: The criterion of the task: loss, distance, and what a good answer is.
        train: The training samples.
        validation: The samples by which a search compares networks.
        usage: What raw data become the inputs, and what the output means, for exported files.
        facts: What was read, where the source of the samples told it.

    Raises:
        TaskError: If a split does not fit the inputs, the output or the criterion, or the usage
            contradicts inputs or output.
    """

    name: str
    inputs: tuple[Input, ...]
    output: Shape
    criterion: Criterion
    train: TrainSplit
    validation: Split
    _test: Split = field(repr=False)
    usage: Usage
    facts: DataFacts | None = None

    def __post_init__(self) -> None:
        if problems := self.usage.problems(self.inputs, self.output):
            raise TaskError(f"the task {self.name!r}: {'; '.join(problems)}; correct its usage")
        for name, split in self._splits().items():
            self._check(f"the {name} split of {self.name}", split)

    def _splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self._test}

    def _check(self, where: str, split: Split) -> None:
        wanted = {each.name: (each.dtype, tuple(each.shape)) for each in self.inputs}
        given = {
            name: (str(x.dtype).removeprefix("torch."), tuple(x.shape[1:]))
            for name, x in split.inputs.items()
        }
        if given != wanted:
            raise TaskError(f"{where} has inputs {given}, but the task says {wanted}; give those")
        if len(split) == 0 or {len(x) for x in split.inputs.values()} != {len(split)}:
            counts = {name: len(x) for name, x in split.inputs.items()}
            raise TaskError(
                f"{where} has {len(split)} targets for {counts} samples; give one target per "
                "sample, at least one"
            )
        try:
            self.criterion.check(self.output, split.targets)
        except CriterionError as error:
            raise TaskError(f"{where}: {error}") from error

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

    def calibration(self, samples: int, size: int) -> list[Inputs]:
        """The inputs of the first training samples as training shows them, always the same batches.

        Weights that were trained on augmented samples expect the statistics of such samples.

        Args:
            samples: How many samples.
            size: Samples per batch.
        """
        rng, rows = np.random.default_rng(0), np.arange(min(samples, len(self.train)))
        return [self.train.batch(rows[i : i + size], rng)[0] for i in range(0, len(rows), size)]

    def test_batches(self, size: int) -> Iterator[Batch]:
        """Batches of the test split, for the final report and never for a decision."""
        return self._test.batches(size)

    def test_samples(self) -> Batch:
        """The whole test split, for the final report and never for a decision."""
        return self._test.inputs, self._test.targets

    def stated(self) -> dict[str, JsonValue]:
        """What exported files tell of the inputs and the output, as JSON values."""
        return self.usage.stated(self.inputs, self.output)

    def sizes(self) -> dict[str, int]:
        """The number of samples per split."""
        return {name: len(split) for name, split in self._splits().items()}

    def content(self) -> dict[str, Batch]:
        """All samples of every split, to tell what was read and never for a decision."""
        return {name: (split.inputs, split.targets) for name, split in self._splits().items()}

    def to(self, device: torch.device | str) -> Task:
        """The same task with every split held on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            _test=self._test.to(device),
        )
