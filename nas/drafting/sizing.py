"""The size of a first run: a space, a training and a search that fit the task and the machine.

The numbers follow the shipped recipes. A user changes them after the first report.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nas.tasks import Task
from nas.tasks.criteria import Classification, Pixels, Regression, TokenPrediction
from nas.tasks.criterion import Criterion

_SMALL = 5_000  # samples, below which wide networks learn them by heart
_HALF = {"weight_bits": [4, 8], "activation_bits": [8], "fineness": "block"}


@dataclass(frozen=True)
class Machine:
    """What a run may use of this machine.

    Attributes:
        cores: The number of processor cores of this process.
        gpu: Whether torch finds a GPU.
    """

    cores: int
    gpu: bool

    @classmethod
    def here(cls) -> Machine:
        """This machine."""
        return cls(len(os.sched_getaffinity(0)), torch.cuda.is_available())

    def __str__(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores} and {'a' if self.gpu else 'no'} GPU"


def space_for(task: Task, machine: Machine) -> dict[str, Any]:
    """The section `space` for a task: the family that reads its inputs, with options of its sizes.

    The family follows from the shapes and the types of the inputs and of the output.
    """
    first = task.inputs[0]
    match len(first.shape), first.dtype, len(task.output):
        case 1, "int64", 2:
            return _tokens("language-model", widths=[32, 48, 64], hidden=[64, 128])
        case 1, "int64", _:
            return _tokens("transformer-encoder", widths=[16, 24, 32], hidden=[32, 64])
        case 3, "float32", 3:
            return {"family": "super-resolution", "widths": [4, 8, 12], "depths": [1, 2, 3]}
        case 3, "float32", 1:
            return _images(task, machine)
        case _:
            widths = [8, 16, 32] if len(task.train) < _SMALL else [32, 64, 128]
            return {"family": "mlp", "widths": widths, "depths": [1, 2, 3]}


def policy_for(task: Task) -> dict[str, Any]:
    """The precisions to choose from; tokens are not rounded below 8 bits."""
    return dict(_HALF) if task.inputs[0].dtype == "int64" else {**_HALF, "activation_bits": [4, 8]}


def _tokens(family: str, *, widths: list[int], hidden: list[int]) -> dict[str, Any]:
    return {
        "family": family,
        "widths": widths,
        "depths": [1, 2],
        "heads": [1, 2],
        "head_sizes": [8, 16],
        "hidden": hidden,
        "function": "relu",
    }


def _images(task: Task, machine: Machine) -> dict[str, Any]:
    """Stages until about four pixels are left; twice the width after each."""
    side = max(task.inputs[0].shape[1:])
    stages = min(4, max(2, round(math.log2(side)) - 2))
    base = 16 if machine.gpu else 8
    base = base if len(task.train) >= _SMALL else 8
    largest = [base, *(base << stage for stage in range(stages))]
    widths = [[top // 2, 3 * top // 4, top] for top in largest]
    return {
        "family": "residual",
        "widths": widths,
        "depths": [[1, 2]] * stages,
        "kernels": [3, 5],
    }


def training_for(task: Task, machine: Machine) -> dict[str, Any]:
    """The section `training`: as many epochs as make a fixed number of steps, within bounds."""
    samples, tokens = len(task.train), task.inputs[0].dtype == "int64"
    most = 128 if samples >= 10 * _SMALL else 64 if samples >= 1_000 else 32
    batch = max(2, min(most, samples // 4))
    steps, least, longest = (10_000, 10, 100) if machine.gpu else (500 if tokens else 800, 2, 40)
    epochs = min(longest, max(least, round(steps / max(1, samples // batch))))
    common = {"float_epochs": epochs, "quantized_epochs": epochs, "batch_size": batch}
    images = len(task.inputs[0].shape) == 3
    if images and isinstance(task.criterion, Classification):
        return {**common, "learning_rate": 0.1, "random_subnets": 1}
    if images or tokens:
        rate = 0.003 if tokens else 0.005
        method = {"optimizer": "adamw", "learning_rate": rate, "step_rate": 0.02}
        decay = {} if tokens else {"weight_decay": 0.0}
        return {**common, **method, **decay, "random_subnets": 1}
    return {**common, "learning_rate": 0.02, "weight_decay": 1e-3}


def tolerance_for(criterion: Criterion) -> float:
    """How much accuracy a faster network may lose, in the unit of the criterion's error."""
    match criterion:
        case Classification():
            return 0.5
        case Pixels():
            return 0.05
        case TokenPrediction():
            return 0.01
        case Regression():
            return float(f"{0.02 * criterion.scale:.1g}")
        case _:
            return 0.0


def search_for(task: Task) -> dict[str, Any]:
    """The section `search`."""
    calibration = min(256, len(task.train))
    return {"searcher": "guided", "budget": 100, "batch": 10, "calibration_samples": calibration}


def compute_for(machine: Machine) -> Mapping[str, Any]:
    """The section `compute`: small networks gain nothing from more threads."""
    return {} if machine.gpu else {"threads": 1}
