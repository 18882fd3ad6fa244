"""Teachers: the choice of the output that a subnet learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Teacher(Protocol):
    """A function that picks the output which the next subnet of a step learns from."""

    def __call__(self, outputs: Sequence[Tensor], /) -> Tensor:
        """One of the outputs of the subnets that ran before in the step, or their combination.

        Args:
            outputs: The outputs, that of the largest subnet first, then in descending order of
                cost; without gradients.
        """
        ...


def largest(outputs: Sequence[Tensor]) -> Tensor:
    """The output of the largest subnet (in-place distillation, Yu & Huang 2019, section 3.3)."""
    return outputs[0]
