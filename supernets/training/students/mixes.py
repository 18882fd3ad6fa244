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


def rising(distillation: float, moment: Moment, _cost: float) -> float:
    """A weight that rises linearly over the training, from 0 to the setting.

    A teacher knows little at first, and more in every epoch.
    """
    return distillation * moment.share


def by_cost(distillation: float, _moment: Moment, cost: float) -> float:
    """A weight that is larger for cheaper students, which have more to learn from a teacher.

    The weight falls from the square root of the setting, for students that cost nothing, to the
    setting, for students as costly as the largest subnet.
    """
    return distillation ** ((1 + cost) / 2)
