"""Checks and means that criteria of measured values share."""

from __future__ import annotations

from torch import Tensor

from nas.tasks.criterion import CriterionError, require_samples
from search_spaces.ops import Shape


def require_values(output: Shape, targets: Tensor) -> None:
    """Raise `CriterionError` unless targets are finite floats `(n, *output)`."""
    if not targets.is_floating_point():
        raise CriterionError(
            f"targets must be measured values (float32), given {targets.dtype}; for classes, take "
            "a task with the criterion of a classification"
        )
    if tuple(targets.shape[1:]) != tuple(output):
        raise CriterionError(
            f"targets must have the shape {('n', *output)}, as the outputs have, given "
            f"{tuple(targets.shape)}"
        )
    if not bool(targets.isfinite().all()):
        raise CriterionError("targets must be finite, given NaN or infinity; repair or drop them")


def residuals(out: Tensor, other: Tensor) -> Tensor:
    """The differences of outputs from values of the same shape and kind."""
    require_samples(out, other, out.shape)
    if not other.is_floating_point():
        raise CriterionError(f"values must be floats, given {other.dtype}")
    return out - other


def sample_means(values: Tensor) -> Tensor:
    """The mean of the values of each sample, `(n,)`."""
    return values.reshape(len(values), -1).mean(dim=1)
