"""A task whose inputs are prepared as a trained network expects them, and not as a task does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nas.facts.usage import Scaling
from nas.own.model import OwnModelError
from nas.tasks import Split, Task
from supernets.inputs import Inputs


def prepared_as(task: Task, scaling: Scaling | None) -> Task:
    """The task with inputs that a network expects: raw numbers, scaled by `scaling` alone.

    Args:
        task: The task.
        scaling: The scaling with which the network was trained; None keeps the task's own.

    Raises:
        OwnModelError: The task has no single input of numbers, or another number of channels.
    """
    if scaling is None:
        return task
    if len(task.inputs) != 1 or task.inputs[0].dtype != "float32":
        raise OwnModelError(
            f"mean and std are for networks with one input of numbers, but the task {task.name!r} "
            f"has {', '.join(f'{one.name} ({one.dtype})' for one in task.inputs)}; leave them out"
        )
    [name] = (one.name for one in task.inputs)
    port = replace(task.usage.inputs[name], scaling=scaling)
    if faults := port.problems(task.inputs[0].shape):
        raise OwnModelError(f"model.mean and model.std: the input {name!r} {'; '.join(faults)}")
    before = task.usage.inputs[name].scaling

    def anew(inputs: Inputs) -> Inputs:
        return {name: _rescaled(inputs[name], before, scaling)}

    test, targets = task.test_samples()
    return replace(
        task,
        train=replace(task.train, inputs=anew(task.train.inputs), augment=None),
        validation=replace(task.validation, inputs=anew(task.validation.inputs)),
        _test=Split(anew(test), targets),
        usage=replace(task.usage, inputs={name: port}),
    )


def _rescaled(values: Tensor, before: Scaling | None, after: Scaling) -> Tensor:
    raw = values.numpy() if before is None else before.undone(values.numpy())
    return torch.from_numpy(after.done(np.asarray(raw)).astype(np.float32))
