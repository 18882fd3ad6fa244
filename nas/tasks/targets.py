"""The meaning of a file's targets: classes, or values for a regression."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.tasks.task import TaskError

Array = NDArray[Any]
Meaning = Literal["classes", "regression"]
_FEW = 10  # so few different whole numbers are classes wherever they begin
LARGEST = float(np.finfo(np.float32).max) / 4  # so that differences from a mean fit too


def meaning(where: str, targets: Array) -> Meaning:
    """Whether targets are classes or values, if that is beyond doubt.

    Names and truth values are classes, fractions are values. Whole numbers are classes if there are
    at most ten different ones, or if they number classes from 0 or 1 on, with at least ten samples
    each on average.

    Args:
        where: The source, for errors.
        targets: The targets of the training split, `(n, ...)`.

    Raises:
        TaskError: If the targets could be both.
    """
    if targets.dtype.kind in "USb":
        return "classes"
    if (
        targets.dtype.kind == "f"
        and not (np.isfinite(targets) & (targets == targets.round())).all()
    ):
        return "regression"
    if targets.dtype.kind in "iu" and _numbers_classes(targets):
        return "classes"
    raise TaskError(
        f"{where} has targets of type {targets.dtype} and shape {targets.shape}, "
        f"{len(np.unique(targets))} different whole numbers from {targets.min()} to "
        f'{targets.max()}, which may be classes or values; set target = "classes" or '
        'target = "regression"'
    )


def _numbers_classes(targets: Array) -> bool:
    distinct = np.unique(targets)
    if targets.size != len(targets):
        return False
    numbered = distinct[0] in (0, 1) and distinct[-1] - distinct[0] + 1 == len(distinct)
    return len(distinct) <= _FEW or bool(numbered and len(targets) >= _FEW * len(distinct))


def values(where: str, targets: Array) -> NDArray[np.float32]:
    """The targets of a regression, `(n, *output)`; one value per sample may come as `(n,)`.

    Raises:
        TaskError: If a target is no finite number of float32.
    """
    if targets.dtype.kind not in "uifb":
        raise TaskError(
            f"{where} has targets of type {targets.dtype}, which are no values; give numbers, or "
            'set target = "classes"'
        )
    require_finite(where, "targets", targets)
    made = targets.astype(np.float32)
    return made[:, None] if made.ndim == 1 else made


def require_targets(where: str, samples: int, targets: Array) -> None:
    """Raise `TaskError` unless there is one target, of any shape, for each of some samples."""
    if targets.size == 0:
        raise TaskError(f"{where} holds no targets; every split needs at least one sample")
    if targets.ndim == 0 or len(targets) != samples:
        raise TaskError(
            f"{where} has {samples} samples but targets of shape {targets.shape}; give one target "
            f"per sample, shape ({samples},) or ({samples}, ...)"
        )


def require_finite(where: str, what: str, numbers: Array) -> None:
    """Raise `TaskError` where numbers `(n, ...)` are not finite in float32."""
    with np.errstate(over="ignore"):
        sound = np.abs(numbers.astype(np.float32)) <= LARGEST  # False for NaN too
    rows = sound.reshape(len(numbers), -1).all(axis=1)
    if not rows.all():
        raise TaskError(
            f"{where} has {what} that are NaN, infinite or beyond {LARGEST:.1g}, first in sample "
            f"{int(np.argmin(rows))}; repair or drop them"
        )
