"""The context of a training: what its replaceable parts are made from, and when they are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.costs import bitops, compile_cost
from search_spaces.space import Genotype
from supernets.inputs import Inputs, rows
from supernets.ranks import ALONE, Ranks
from supernets.supernet import Supernet
from supernets.training.criterion import TrainingCriterion
from supernets.training.schedule import Schedule, TrainingSettings

Batch = tuple[Inputs, Tensor]
Cost = Callable[[NDArray[np.integer]], NDArray[np.float64]]


@dataclass(frozen=True)
class Moment:
    """A step of a training.

    Attributes:
        step: The number of steps done before, from 0.
        plan: The schedule of the training.
    """

    step: int
    plan: Schedule

    @property
    def quantized(self) -> bool:
        """Whether subnets are quantized in this step."""
        return self.step >= self.plan.float_steps

    @property
    def of_largest(self) -> bool:
        """Whether only the largest subnet learns in this step."""
        return self.step < self.plan.largest_steps

    @property
    def share(self) -> float:
        """The share of all steps that is done, 0 to below 1."""
        return self.step / self.plan.total

    @property
    def phase_share(self) -> float:
        """The share of the present phase, float or quantized, that is done, 0 to below 1."""
        start = self.plan.float_steps if self.quantized else 0
        end = self.plan.total if self.quantized else self.plan.float_steps
        return (self.step - start) / (end - start)


@dataclass(frozen=True, eq=False)
class TrainingContext:
    """The training that a part belongs to.

    Attributes:
        supernet: The supernet in training; a part may read its parameters and their gradients.
        settings: The settings of the training.
        plan: The schedule of the training.
        criterion: The loss and the distance of the task.
        batch: A function that gives the whole batch of a step by its number.
        device_cost: The cost of genotypes `(n, choices)` on a device, `(n,)`, for a sampler that
            searches for that device; None without a device.
        ranks: The processes that share the training. All of them must decide alike, so a part adds
            what it has found on its own rows of a batch (`Ranks.add`) before it decides.
    """

    supernet: Supernet
    settings: TrainingSettings
    plan: Schedule
    criterion: TrainingCriterion
    batch: Callable[[int], Batch]
    device_cost: Cost | None = None
    ranks: Ranks = ALONE

    @cached_property
    def cost(self) -> Cost:
        """The BitOPs of genotypes `(n, choices)`, `(n,)`, which suit every device."""
        return compile_cost(self.supernet.space, bitops)

    def rng(self, purpose: int, count: int) -> np.random.Generator:
        """The generator of a purpose and a count, such as the number of a step."""
        return np.random.default_rng([self.settings.seed, purpose, count])

    def rows(self, batch: Batch) -> Batch:
        """The rows of a whole batch that this process runs."""
        inputs, targets = batch
        own = self.ranks.rows(len(targets))
        return rows(inputs, own), targets[own]

    @torch.no_grad()
    def losses(
        self, genotypes: Sequence[Genotype], batch: Batch, *, quantize: bool
    ) -> NDArray[np.float64]:
        """The losses of subnets on a batch, `(n,)`, without gradients.

        The batch may be this process's rows of a batch; the losses are those of the whole batch.
        """
        inputs, targets = batch
        found = [
            self.criterion.loss(self.supernet(inputs, g, quantize=quantize), targets)
            for g in genotypes
        ]
        losses = torch.stack(found) * self.ranks.share(targets)
        self.ranks.add(losses)
        return losses.double().numpy(force=True)
