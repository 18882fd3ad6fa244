"""What a user's network learns from in a few epochs: samples, what they aim at, and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.own.calling import Calling
from nas.own.model import OwnModelError, forward_names
from nas.own.options import Tuning
from nas.own.samples import Samples, batches_in, inputs_in, samples_of, shapes_of
from supernets.inputs import Inputs
from supernets.training.fine_tune import GENTLE, Imitation, OwnLoss
from supernets.training.schedule import TrainingSettings
from supernets.training.train import TrainingData

_LEAST = 2  # samples of a batch


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples with targets, as a training takes them.

    Attributes:
        inputs: All inputs by the names of the graph's inputs.
        targets: All targets, `(n, ...)`.
    """

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: NDArray[np.integer], rng: np.random.Generator) -> tuple[Inputs, Tensor]:
        """The samples at `rows`, as they are."""
        at = torch.from_numpy(rows)
        return {name: tensor[at] for name, tensor in self.inputs.items()}, self.targets[at]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a network learns from.

    Attributes:
        data: The samples; their targets are not read where the float network is imitated.
        criterion: The loss; an `Imitation` aims at the outputs of the float network.
        settings: The settings of the training.
    """

    data: TrainingData
    criterion: OwnLoss | Imitation
    settings: TrainingSettings


def settings_of(tuning: Tuning, count: int) -> TrainingSettings:
    """The settings of a training on so many samples.

    Raises:
        OwnModelError: There are fewer samples than a batch has.
    """
    size = min(GENTLE.batch_size, count) if tuning.batch_size is None else tuning.batch_size
    if size > count or count < _LEAST:
        raise OwnModelError(
            f"a tuning with batches of {size} samples has {count}; give more samples or a smaller "
            "batch_size"
        )
    rate = GENTLE.learning_rate if tuning.learning_rate is None else tuning.learning_rate
    return replace(GENTLE, quantized_epochs=tuning.epochs, learning_rate=rate, batch_size=size)


def lesson_of(
    tuning: Tuning | None, model: nn.Module, calibration: Samples
) -> Callable[[Calling], Lesson] | None:
    """The lesson for `nas.fit`, checked as far as that is possible before the network is traced.

    Args:
        tuning: What is asked for; None for no lesson.
        model: The network.
        calibration: The samples to imitate the float network on, where `tuning` has no data.

    Raises:
        OwnModelError: There is a loss without data with targets, or the samples do not fit.
    """
    if tuning is None:
        return None
    if tuning.loss is not None and tuning.data is None:
        raise OwnModelError(
            "a loss of your own needs samples with targets; give data, a loader of inputs and "
            "targets, or leave loss out to imitate the float network"
        )
    if tuning.data is None:
        samples, targets = calibration, torch.zeros(len(calibration))
    elif tuning.loss is None:
        samples = _read(lambda: samples_of(tuning.data, model, most=tuning.samples, least=_LEAST))
        targets = torch.zeros(len(samples))
    else:
        samples, targets = _read(lambda: labelled(tuning.data, model, most=tuning.samples))
    if shapes_of(samples) != shapes_of(calibration):
        raise OwnModelError(
            f"the tuning data are of {shapes_of(samples)}, and the calibration gives "
            f"{shapes_of(calibration)}; prepare both alike"
        )
    settings = settings_of(tuning, len(samples))

    def lesson(calling: Calling) -> Lesson:
        data = Rows(calling.named(samples), targets)
        own = tuning.loss
        if own is None:
            return Lesson(data, Imitation(), settings)
        return Lesson(data, OwnLoss(lambda out, aim: own(calling.outputs(out), aim)), settings)

    return lesson


def _read(read: Callable[[], Any]) -> Any:
    """What is read of the data of a tuning, with errors that name them."""
    try:
        return read()
    except OwnModelError as error:
        raise OwnModelError(str(error).replace("the calibration", "the tuning data")) from error


def labelled(loader: object, model: nn.Module, *, most: int) -> tuple[Samples, Tensor]:
    """The first samples of a loader, with their targets, `(n, ...)`.

    Args:
        loader: Gives batches whose first items are the inputs, with one tensor behind them; or
            mappings with one tensor that is no argument of the network.
        model: The network.
        most: The number of samples after which nothing more is read.

    Raises:
        OwnModelError: The loader gives no such batches.
    """
    held: list[tuple[Samples, Tensor]] = []
    for batch in batches_in(loader):
        samples = inputs_in(batch, model)
        target = _target(batch, samples, model)
        if len(target) != len(samples):
            raise OwnModelError(
                f"the calibration gives {len(target)} targets for {len(samples)} samples; give "
                "one for each"
            )
        held.append((samples, target))
        if sum(len(one) for one, _ in held) >= most:
            break
    if not held:
        raise OwnModelError("the calibration gives no samples; give a loader of some")
    joined = zip(*(samples.tensors for samples, _ in held), strict=True)
    inputs = Samples(held[0][0].names, tuple(torch.cat(parts)[:most] for parts in joined))
    return inputs, torch.cat([target for _, target in held])[:most]


def _target(batch: Any, samples: Samples, model: nn.Module) -> Tensor:
    """The one tensor in a batch that is none of the inputs."""
    if isinstance(batch, Mapping):
        names, _ = forward_names(model)
        rest = [one for name, one in batch.items() if name not in names]
    elif isinstance(batch, Sequence) and not isinstance(batch[0], Tensor):
        rest = [*batch[1:]]
    else:
        rest = [*batch[len(samples.tensors) :]] if isinstance(batch, Sequence) else []
    found = [one for one in rest if isinstance(one, Tensor)]
    if len(found) != 1:
        raise OwnModelError(
            f"a batch of the calibration has {len(found)} tensors beside the inputs, and a loss "
            "needs one with the targets; give batches of inputs and targets"
        )
    return found[0].detach().cpu()
