"""Steps from samples to a task: prepared inputs, and classes or values with a criterion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from nas.tasks.classes import numbered
from nas.tasks.criteria import Classification, Regression
from nas.tasks.criterion import Criterion
from nas.tasks.section import SplitSection
from nas.tasks.source import Array, DataSource, Divided, Samples
from nas.tasks.task import Augmentation, Split, Task, TaskError, TrainSplit
from search_spaces.ops import Input, Shape


@dataclass(frozen=True)
class Prepared:
    """The inputs of a network, and the function that makes them from samples of a source.

    Attributes:
        specs: The inputs.
        tensors: A function from samples to the tensors of the inputs, by name.
        metadata: What exported files tell about the inputs.
        augment: The augmentation of training batches.
    """

    specs: tuple[Input, ...]
    tensors: Callable[[Samples], Mapping[str, Tensor]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    augment: Augmentation | None = None


def tensors_of(samples: Samples) -> dict[str, Tensor]:
    """The inputs of samples as they are, by name."""
    return {name: torch.from_numpy(x) for name, x in samples.inputs.items()}


@dataclass(frozen=True)
class Aim:
    """The output of a network, and how it is judged.

    Attributes:
        output: The shape of the output of one sample.
        criterion: The criterion.
        metadata: What exported files tell about outputs.
    """

    output: Shape
    criterion: Criterion
    metadata: Mapping[str, str] = field(default_factory=dict)

    def task(self, name: str, parts: Divided, inputs: Prepared) -> Task:
        """The task with this aim whose splits are `parts`."""
        tensors = [
            (inputs.tensors(samples), torch.from_numpy(samples.targets))
            for samples in (parts.train, parts.validation, parts.test)
        ]
        return Task(
            name=name,
            inputs=inputs.specs,
            output=self.output,
            criterion=self.criterion,
            train=TrainSplit(*tensors[0], inputs.augment),
            validation=Split(*tensors[1]),
            _test=Split(*tensors[2]),
            metadata={**inputs.metadata, **self.metadata},
            facts=parts.facts,
        )


def classified(
    section: SplitSection, source: DataSource, label_smoothing: float
) -> tuple[Divided, Aim]:
    """The splits of a source of classes, with class numbers as targets.

    Raises:
        TaskError: If there is one class only, or a split lacks a class or has another one.
    """
    source, names = numbered(source)
    source = replace(source, reading=replace(source.reading, classes=names))
    told = {"classes": json.dumps(names)}
    aim = Aim((len(names),), Classification(label_smoothing), told)
    return section.divided(source, stratified=True), aim


def regressed(section: SplitSection, source: DataSource, unit: str) -> tuple[Divided, Aim]:
    """The splits of a source of values, with values less their mean in deviations as targets.

    A single value per sample is judged in its own unit, several in their deviations. Mean and
    deviation are those of the training split: of each value if a sample has a vector of them, of
    all values together if it has a matrix or an image.

    Raises:
        TaskError: If training targets are all the same, or splits differ in the shape of targets.
    """
    for split, samples in source.given.items():
        if samples.targets.shape[1:] != source.train.targets.shape[1:]:
            raise TaskError(
                f"{source.name} has {split} targets of shape {samples.targets.shape[1:]} but "
                f"training targets of shape {source.train.targets.shape[1:]}; give all the same"
            )
    parts = section.divided(source, stratified=False)
    mean, deviation = _spread(source.name, parts.train.targets)

    def standard(samples: Samples) -> Samples:
        targets = ((samples.targets - mean) / deviation).astype(np.float32)
        return replace(samples, targets=targets)

    single = deviation.size == 1
    criterion = Regression(
        unit=unit if single else "standard deviations",
        scale=float(deviation.max()) if single else 1.0,
    )
    told = {"mean": mean.tolist(), "std": deviation.tolist()}
    aim = Aim(parts.train.targets.shape[1:], criterion, {"target_normalization": json.dumps(told)})
    return parts.changed(standard), aim


def _spread(name: str, targets: Array) -> tuple[Array, Array]:
    """The mean and the standard deviation of targets, `(values,)` or a single number each."""
    exact = targets.astype(np.float64)
    axis = 0 if targets.ndim == 2 else None
    mean, deviation = np.mean(exact, axis=axis), np.std(exact, axis=axis)
    if not (deviation.astype(np.float32) > 0).all():
        raise TaskError(
            f"{name} has training targets that are all the same, {np.ravel(mean)[0]:g}; give some "
            "that differ"
        )
    return mean, deviation
