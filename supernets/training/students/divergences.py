"""Divergences: the distance of a student's output from that of its teacher."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from supernets.training.criterion import TrainingCriterion


class Divergence(Protocol):
    """A function that measures how far a student's output is from its teacher's."""

    def __call__(self, student: Tensor, teacher: Tensor, criterion: TrainingCriterion, /) -> Tensor:
        """The mean over samples, a scalar; no gradient reaches the teacher.

        A sample's value does not depend on other samples, which another process may have.

        Args:
            student: The output of the student, `(n, ...)`.
            teacher: The output of the teacher, `(n, ...)`.
            criterion: The criterion of the task.
        """
        ...


def task_distance(student: Tensor, teacher: Tensor, criterion: TrainingCriterion) -> Tensor:
    """The distance of the task, which is the Kullback-Leibler divergence for a classification."""
    return criterion.distance(student, teacher)
