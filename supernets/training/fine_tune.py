"""A few epochs from trained weights: the training of a supernet that begins as a user's network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_spaces.space import SearchSpace
from supernets.checkpoint import digest_of
from supernets.supernet import Supernet, weights_of
from supernets.training.context import Batch
from supernets.training.methods import Methods
from supernets.training.schedule import TrainingSettings
from supernets.training.train import History, Progress, TrainingData, train

Loss = Callable[[Tensor, Tensor], Tensor]

GENTLE = TrainingSettings(
    float_epochs=0,
    quantized_epochs=2,
    learning_rate=0.01,
    weight_decay=1e-4,
    warmup=0.1,
    largest_first=0.0,
    random_subnets=2,
)
"""Settings for weights that are good already: low rates, and precisions from the first step on."""


@dataclass(frozen=True, eq=False)
class FineTuned:
    """Weights after a few epochs.

    Attributes:
        supernet: The weights and the learned steps, which `supernets.deploy.Deployment` deploys.
        history: The losses of the training.
    """

    supernet: Supernet
    history: History

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights by `ADDRESS.NAME`, as `trace` and `Supernet.of` name them."""
        return {name: tensor.detach() for name, tensor in weights_of(self.supernet).items()}


def fine_tune(
    space: SearchSpace,
    tensors: Mapping[str, Tensor],
    data: TrainingData,
    settings: TrainingSettings = GENTLE,
    *,
    criterion: OwnLoss | Imitation,
    state_path: Path,
    methods: Methods | None = None,
    progress: Progress | None = None,
) -> FineTuned:
    """The weights `tensors` after a few epochs over the precisions and the widths of `space`.

    The space is that of a traced network with its norms folded (`Traced.folded`), so that training
    computes what is deployed; a norm that is left takes the statistics of the batch. The largest
    network does not learn alone first and channels keep their order, since weights are good already
    and may have been sorted. The training continues from the file at `state_path` if there is one.

    Args:
        space: The space; a single network is one, too.
        tensors: The weights at the start, in the largest shapes of the space; they are not changed.
        data: The training data. `Imitated` are data without targets.
        settings: The settings. With `epochs`, all epochs are over precisions.
        criterion: `OwnLoss`, or `Imitation` for outputs of the float network as targets.
        state_path: The file for checkpoints.
        methods: The methods that `settings` names; None for the defaults.
        progress: As `train` takes it.

    Raises:
        WeightsError: If the tensors do not fit the space.
        TrainingDiverged: If the training diverges a second time.
        CheckpointError: If the checkpoint is damaged or belongs to another training, such as one
            from other weights.
    """
    methods = methods or Methods()
    plain = replace(settings, largest_first=0.0)
    if settings.epochs is not None:
        plain = replace(plain, float_epochs=0, quantized_epochs=settings.epochs, epochs=None)
    supernet = Supernet.of(space, tensors, quantizer=methods.quantizer)
    history = train(
        supernet,
        data,
        plain,
        criterion=criterion,
        state_path=state_path,
        methods=methods,
        progress=progress,
        origin=digest_of(tensors),
    )
    return FineTuned(supernet, history)


@dataclass(frozen=True, eq=False)
class Imitated:
    """Samples whose targets are the outputs of the float network for the same, augmented inputs.

    Attributes:
        data: The samples, whose own targets are not read.
        network: The float network, which takes inputs by name, as `Traced.module` does.
    """

    data: TrainingData
    network: nn.Module

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, rows: NDArray[np.integer], rng: np.random.Generator) -> Batch:
        """Inputs and the outputs of the float network."""
        inputs, _ = self.data.batch(rows, rng)
        with torch.no_grad():
            return inputs, self.network(**inputs)


def share_of_variance(out: Tensor, target: Tensor) -> Tensor:
    """The mean squared distance of outputs from targets, over the variance of the targets."""
    spread = (target - target.mean(0)).square().mean().clamp(min=torch.finfo(target.dtype).tiny)
    return (out - target).square().mean() / spread


@dataclass(frozen=True, eq=False)
class Imitation:
    """The criterion of a network that learns to give the outputs of the float network.

    Attributes:
        measure: The distance of outputs from those of the float network, a scalar; that of a
            task's criterion where there is a task.
    """

    measure: Loss = share_of_variance

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """The distance from the outputs of the float network."""
        return self.measure(out, target)

    def distance(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The distance from the outputs of a teacher."""
        return self.measure(out, teacher)

    def guess(self, targets: Tensor) -> float:
        """The distance of the mean output."""
        return float(self.measure(targets.mean(0).expand_as(targets), targets))

    def log_probabilities(self, out: Tensor) -> Tensor:
        """No outputs are known to be logits."""
        return _no_logits(out)


@dataclass(frozen=True, eq=False)
class OwnLoss:
    """The criterion of a user's own loss.

    Attributes:
        own: The loss of outputs for targets, a mean over the samples, which torch derives. The
            outputs of a network with several stand one behind the other.
        measure: The distance of a subnet's outputs from those of a teacher.
    """

    own: Loss
    measure: Loss = share_of_variance

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """The user's loss."""
        return self.own(out, target)

    def distance(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The distance from the outputs of a teacher."""
        return self.measure(out, teacher)

    def guess(self, targets: Tensor) -> float:
        """Infinity: nobody knows the best constant answer, so that only infinite losses diverge."""
        return math.inf

    def log_probabilities(self, out: Tensor) -> Tensor:
        """No outputs are known to be logits."""
        return _no_logits(out)


def _no_logits(out: Tensor) -> Tensor:
    raise ValueError(
        f"outputs of the shape {tuple(out.shape)} are not known to be logits; choose the "
        "divergence 'task' for this training"
    )
