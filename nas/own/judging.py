"""The judge of networks for a task with targets: its criterion, on two parts of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import ERROR
from nas.own.calling import Calling
from nas.own.evaluator import HELD_OUT, Judged
from nas.own.model import OwnModelError, called
from nas.own.samples import Samples
from nas.tasks.criterion import Criterion

_BATCH = 128


@dataclass(frozen=True, eq=False)
class Part:
    """Samples with their targets, `(n, ...)`."""

    samples: Samples
    targets: Tensor

    def batches(self) -> Iterator[tuple[Samples, Tensor]]:
        """The samples in their order."""
        for start in range(0, len(self.samples), _BATCH):
            part = slice(start, start + _BATCH)
            yield self.samples.at(part), self.targets[part]


@dataclass(frozen=True, eq=False)
class CriterionJudge:
    """A judge by the criterion of a task.

    Attributes:
        calling: How networks are called.
        criterion: The criterion.
        seen: The samples that guide the search.
        unseen: Samples that the search does not see.
    """

    calling: Calling
    criterion: Criterion
    seen: Part
    unseen: Part
    by = (HELD_OUT, ERROR)
    alike = (0.0, 0.0)

    @property
    def given(self) -> Iterator[Tensor]:
        """The tensors of the samples."""
        for part in (self.seen, self.unseen):
            yield from (*part.samples.tensors, part.targets)

    def __call__(self, network: nn.Module) -> Judged:
        """What is found of a network."""
        module = self.calling.module(network)
        answers = Answers.of(losses(module, self.criterion, self.seen), len(self.seen.samples))
        held = losses(module, self.criterion, self.unseen)
        return Judged({ERROR: answers.error, HELD_OUT: float(held.mean(dtype=float))}, answers)


def losses(module: nn.Module, criterion: Criterion, part: Part) -> NDArray[np.float32]:
    """The loss of each sample, `(n,)`."""
    with torch.no_grad():
        found = [
            criterion.losses(called(module, samples.given()), targets)
            for samples, targets in part.batches()
        ]
    return torch.cat(found).float().numpy()


def require_useful(model: nn.Module, criterion: Criterion, part: Part) -> float:
    """The error of a float network, whose answers are better than one constant answer.

    Raises:
        OwnModelError: The network's error is not below that of the best constant answer, so its
            inputs are most probably prepared in another way than in its training.
    """
    constant = criterion.constant_error(part.targets)
    error = float(losses(model, criterion, part).mean(dtype=float))
    if constant is not None and error >= constant:
        raise OwnModelError(
            f"the float network has {criterion.error.name} {criterion.error.text(error)} on "
            f"{len(part.samples)} samples, and one constant answer has "
            f"{criterion.error.text(constant)}: give model.mean, model.std and model.divide as in "
            "its training, and look at its weights and at the order of classes"
        )
    return error
