"""What the subnets of a step learn from: the labels, and what the largest of them answers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def label_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross entropy of `logits` `(n, classes)` against `labels` `(n,)`, smoothed; a scalar.

    The target is `1 - smoothing` on the label and `smoothing / classes` everywhere (Szegedy et al.
    2016, section 7).
    """
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of the student's classes from the teacher's, both logits.

    Gradients reach the student only (in-place distillation, Yu & Huang 2019, section 3.3).
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
    """Loss of a subnet that learns from the largest one and from the labels; a scalar.

    A subnet that learns from the largest alone stops once the two agree, however wrong both are,
    so the labels keep a share; EQ-Net (Xu et al. 2023) gives both a half.

    Args:
        student: Logits `(n, classes)` of the subnet.
        teacher: Logits of the largest subnet for the same images; no gradient reaches them.
        labels: Classes, `(n,)`.
        distillation: Share of the divergence from the teacher, 0 to 1; the labels have the rest.
        smoothing: Of the labels.
    """
    divergence = distillation_loss(student, teacher)
    hard = label_loss(student, labels, smoothing=smoothing)
    return distillation * divergence + (1 - distillation) * hard
