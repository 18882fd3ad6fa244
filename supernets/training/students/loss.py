"""The loss of a subnet that learns from the output of a teacher and from the targets."""

from __future__ import annotations

from torch import Tensor

from supernets.training.criterion import TrainingCriterion
from supernets.training.students.divergences import Divergence


def student_loss(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    *,
    criterion: TrainingCriterion,
    divergence: Divergence,
    distillation: float,
) -> Tensor:
    """The loss of a subnet that learns from a teacher and from the targets, a scalar.

    A subnet that learns only from the largest subnet stops learning once both agree, even if both
    are wrong. Targets therefore keep a share; in EQ-Net (Xu et al. 2023) the share is a half.

    Args:
        student: The output of the subnet, `(n, ...)`.
        teacher: The output of the teacher for the same samples, which gets no gradient.
        targets: The targets of the samples, `(n, ...)`.
        criterion: The loss and the distance of the task.
        divergence: The distance from the teacher.
        distillation: The weight of the distance from the teacher, 0 to 1; the loss for the targets
            has the rest.
    """
    distance = divergence(student, teacher, criterion)
    hard = criterion.loss(student, targets)
    return distillation * distance + (1 - distillation) * hard
