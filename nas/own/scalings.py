"""How a trained network takes its images: the usual preparations, tried on labelled samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from nas.facts.usage import Scaling
from nas.own.judging import Part, losses
from nas.own.preparing import prepared_as
from nas.own.samples import Samples
from nas.tasks import Task

_TRIED = 256
_CLEARLY = 0.75


@dataclass(frozen=True)
class Preparation:
    """A usual preparation of pixels: `(pixel / divide - mean) / std`."""

    name: str
    divide: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def scaling(self) -> Scaling:
        """The scaling of raw pixels."""
        mean = tuple(self.divide * one for one in self.mean)
        return Scaling(mean, tuple(self.divide * one for one in self.std))


USUAL = (
    Preparation(
        "ImageNet's means and deviations", 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ),
    Preparation("pixels from -1 to 1", 255, (0.5,), (0.5,)),
    Preparation("pixels from 0 to 1", 255, (0.0,), (1.0,)),
    Preparation("CIFAR-10's", 255, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    Preparation("MNIST's", 255, (0.1307,), (0.3081,)),
    Preparation("raw pixels", 1, (0.0,), (1.0,)),
)


def best_preparation(
    model: nn.Module, task: Task, *, stated: Preparation | None = None
) -> tuple[Preparation, Mapping[str, float]]:
    """The preparation under which a network makes least errors, and the errors under each.

    Args:
        model: The network.
        task: A task with one input of images, with any scaling, and with labels.
        stated: What a package says of a network; it is taken unless a usual preparation makes
            less than three quarters of its errors.
    """
    errors: dict[str, float] = {}
    channels = task.inputs[0].shape[0]
    tried = USUAL if stated is None else (stated, *USUAL)
    fitting = [one for one in tried if len(one.mean) in (1, channels)]
    for one in fitting:
        split = prepared_as(task, one.scaling()).validation
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:_TRIED]
        samples = Samples((), tuple(tensor[order] for tensor in split.inputs.values()))
        part = Part(samples, split.targets[order])
        errors[one.name] = float(losses(model, task.criterion, part).mean(dtype=float))
    best = min(fitting, key=lambda one: errors[one.name])
    if stated is not None and errors[best.name] >= _CLEARLY * errors[stated.name]:
        best = stated
    return best, errors
