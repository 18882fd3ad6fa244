"""Mixes: the course of the weight of distillation over time and subnets."""

from __future__ import annotations

from typing import Protocol

from supernets.training.context import Moment


class Mix(Protocol):
    """A function that gives the weight of the distance from the teacher in a student's loss."""

    def __call__(self, distillation: float, moment: Moment, cost: float, /) -> float:
        """The weight, 0 to 1; the loss for the targets has the rest.

        Args:
            distillation: The setting of this name.
            moment: The step.
            cost: The cost of the student over that of the largest subnet.
        """
        ...


def constant(distillation: float, _moment: Moment, _cost: float) -> float:
    """The same weight for all students and steps."""
    return distillation
