"""What the subnets of a step learn from: labels for the largest, the largest for all others."""

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
