"""Steps from samples to a task: prepared inputs, and classes or values with a criterion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nas.facts.usage import Port, Scaling, Usage, numbers
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
        ports: Input name -> what raw data become the input.
        augment: The augmentation of training batches.
    """

    specs: tuple[Input, ...]
    tensors: Callable[[Samples], Mapping[str, Tensor]]
    ports: Mapping[str, Port]
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
        port: What the output means.
    """

    output: Shape
    criterion: Criterion
    port: Port

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
            usage=Usage(inputs.ports, self.port),
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
    about = "A logit per class: the largest is the answer, and softmax gives probabilities."
    port = Port(about, ("class",), names=names)
    aim = Aim((len(names),), Classification(label_smoothing), port)
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
    targets = parts.train.targets
    aim = Aim(targets.shape[1:], criterion, _values(targets, mean, deviation, unit=unit))
    return parts.changed(standard), aim


def _values(targets: Array, mean: Array, std: Array, *, unit: str) -> Port:
    """The meaning of outputs that are values; `mean` and `std` are of each value or of all."""
    axis = 0 if mean.size > 1 else None
    return Port(
        "The values of the targets, in their order and unit.",
        axes_of(targets, last="value"),
        Scaling(numbers(mean), numbers(std)),
        low=numbers(targets.min(axis)),
        high=numbers(targets.max(axis)),
        unit=unit,
    )


def axes_of(samples: Array, *, last: str) -> tuple[str, ...]:
    """Names for the axes of samples `(batch, ...)`: the last has a name, the others a number."""
    return (*(f"axis {place}" for place in range(samples.ndim - 2)), last)


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
