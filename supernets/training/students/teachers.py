"""Teachers: the choice of the output that a subnet learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Teacher(Protocol):
    """A function that picks the output which the next subnet of a step learns from."""

    def __call__(self, outputs: Sequence[Tensor], cheapest: bool, /) -> Tensor:
        """One of the outputs of the subnets that ran before in the step, or their combination.

        Args:
            outputs: The outputs, that of the largest subnet first, then in descending order of
                cost; without gradients.
            cheapest: Whether the subnet that learns is the cheapest of the step, and so its last.
        """
        ...


def largest(outputs: Sequence[Tensor], _cheapest: bool) -> Tensor:
    """The output of the largest subnet (in-place distillation, Yu & Huang 2019, section 3.3)."""
    return outputs[0]


def recursive(outputs: Sequence[Tensor], _cheapest: bool) -> Tensor:
    """The output of the next costlier subnet of the step.

    In Any-Precision (Yu et al. 2021), each precision learns from the next higher one.
    """
    return outputs[-1]


def guided(outputs: Sequence[Tensor], cheapest: bool) -> Tensor:
    """The largest subnet's output for random subnets, and a random subnet's for the cheapest.

    This is the group-progressive guidance of EQ-Net (Xu et al. 2023), where one random subnet
    stands between the largest and the smallest. Of several random subnets, the cheapest one
    teaches.
    """
    return outputs[-1] if cheapest else outputs[0]
