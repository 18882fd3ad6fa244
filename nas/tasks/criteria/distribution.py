"""Losses of outputs that are the logits of a distribution over the last axis."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.tasks.criterion import CriterionError, require_samples
from search_spaces.ops import Shape


def require_smoothing(smoothing: float) -> None:
    """Raise `ValueError` unless a share of the targets is left to their class."""
    if not 0 <= smoothing < 1:
        raise ValueError(f"label_smoothing must lie in 0 to below 1, given {smoothing}")


def require_labels(what: str, options: Shape, shape: Shape, labels: Tensor) -> None:
    """Raise `CriterionError` unless labels number the entries of the last axis of the outputs.

    Args:
        what: The labels' noun, for errors.
        options: The output shape of the task, of which the last axis has one entry per label.
        shape: The shape of the labels of one sample.
        labels: Labels, `(n, *shape)`.
    """
    if labels.dtype != torch.int64:
        raise CriterionError(
            f"{what} must be whole numbers (int64), given {labels.dtype}; for targets that are "
            "measured values, take a task with the criterion of a regression"
        )
    if tuple(labels.shape[1:]) != shape or not options:
        raise CriterionError(
            f"{what} must have the shape {('n', *shape)} for outputs of the shape {options}, "
            f"given {tuple(labels.shape)}"
        )
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < options[-1]:
        raise CriterionError(
            f"{what} must lie in 0 to {options[-1] - 1} for outputs of the shape {options}, given "
            f"{int(labels.min())} to {int(labels.max())}"
        )


def rows_of(out: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `(rows, options)` and labels `(rows,)` of all distributions of a batch."""
    require_samples(out, labels, out.shape[:-1])
    if labels.dtype != torch.int64:
        raise CriterionError(f"labels must be whole numbers (int64), given {labels.dtype}")
    return out.flatten(0, -2), labels.flatten()


def divergence(out: Tensor, teacher: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of distributions from the teacher's, in nats.

    Both arguments are logits of the same shape. Gradients reach only `out` (in-place distillation,
    Yu & Huang 2019, section 3.3).
    """
    require_samples(out, teacher, out.shape)
    return F.kl_div(
        F.log_softmax(out.flatten(0, -2), dim=1),
        F.log_softmax(teacher.detach().flatten(0, -2), dim=1),
        log_target=True,
        reduction="batchmean",
    )


def frequency_loss(labels: Tensor, *, smoothing: float) -> float:
    """The cross entropy, in nats, of a constant answer: the frequency of each label.

    Labels are smoothed over those that occur, as in training.
    """
    counts = torch.bincount(labels.flatten().cpu()).double()
    shares = counts[counts > 0] / counts.sum()
    smoothed = (1 - smoothing) * shares + smoothing / len(shares)
    return float(-(smoothed * smoothed.log()).sum())
