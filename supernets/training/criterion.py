"""The part of a task's criterion that training needs."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class TrainingCriterion(Protocol):
    """The loss and the distance of a task; both are means over the samples of a batch."""

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """The loss of outputs `(n, ...)` for targets `(n, ...)`, a scalar."""
        ...

    def distance(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The distance of outputs from those of a teacher, which gets no gradient, a scalar."""
        ...

    def log_probabilities(self, out: Tensor) -> Tensor:
        """The logarithms of the probabilities of which outputs are the logits, over the last axis.

        Raises:
            ValueError: Outputs are no logits of a distribution.
        """
        ...

    def guess(self, targets: Tensor) -> float:
        """The loss of the best constant answer to `targets`."""
        ...
