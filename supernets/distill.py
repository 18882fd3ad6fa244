"""The losses of a training step: cross entropy with the labels, and distillation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def label_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """The cross entropy of `logits` `(n, classes)` with smoothed `labels` `(n,)`, a scalar.

    The target distribution is `smoothing / classes` for every class, plus `1 - smoothing` for the
    label (Szegedy et al. 2016, section 7).
    """
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of the student's distribution from the teacher's.

    Both arguments are logits `(n, classes)`. Gradients reach only the student (in-place
    distillation, Yu & Huang 2019, section 3.3).
    """
    return F.kl_div(
        F.log_softmax(student, dim=1),
        F.log_softmax(teacher.detach(), dim=1),
        log_target=True,
        reduction="batchmean",
    )


def student_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, *, distillation: float, smoothing: float
) -> Tensor:
    """The loss of a subnet that learns from the largest subnet and from the labels, a scalar.

    A subnet that learns only from the largest subnet stops learning once both agree, even if both
    are wrong. Labels therefore keep a share; in EQ-Net (Xu et al. 2023) the share is a half.

    Args:
        student: Logits `(n, classes)` of the subnet.
        teacher: Logits of the largest subnet for the same images; no gradient reaches them.
        labels: Classes, `(n,)`.
        distillation: The weight of the divergence from the teacher, 0 to 1; the cross entropy with
            the labels has the rest.
        smoothing: The smoothing of the labels, as in `label_loss`.
    """
    divergence = distillation_loss(student, teacher)
    hard = label_loss(student, labels, smoothing=smoothing)
    return distillation * divergence + (1 - distillation) * hard
