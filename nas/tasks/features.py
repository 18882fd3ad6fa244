"""Features as inputs: measured values along the last axis, brought to mean 0 and deviation 1."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nas.facts.usage import Port, Scaling, numbers
from nas.tasks.aims import Prepared, axes_of
from nas.tasks.source import Array, Samples
from nas.tasks.targets import require_finite
from nas.tasks.task import TaskError
from search_spaces.ops import Input

FEATURES = "features"


def clean_features(where: str, features: Array) -> Array:
    """The features of a source, `(n, ..., features)`.

    Raises:
        TaskError: If they are no finite numbers, or there is none.
    """
    if features.dtype.kind not in "uifb":
        raise TaskError(
            f"{where} has features of type {features.dtype}; give numbers, and a number of its own "
            "to each name"
        )
    if features.ndim < 2 or not features.size:
        raise TaskError(
            f"{where} has features of shape {features.shape}; give an array (n, features) or "
            "(n, ..., features)"
        )
    require_finite(where, "features", features)
    return features


def prepared_features(train: Samples, *, names: tuple[str, ...] = ()) -> Prepared:
    """The features less their mean in deviations, which are those of the training split.

    The deviation of a feature that is always the same counts as 1.

    Args:
        train: The training split.
        names: The names of the features, where they have some.
    """
    exact = train.inputs[FEATURES].astype(np.float64).reshape(-1, train.shapes[FEATURES][-1])
    mean, std = exact.mean(axis=0), exact.std(axis=0)
    std = np.where(std.astype(np.float32) > 0, std, 1.0)

    def tensors(samples: Samples) -> dict[str, Tensor]:
        features = samples.inputs[FEATURES].astype(np.float64)
        return {FEATURES: torch.from_numpy(((features - mean) / std).astype(np.float32))}

    shape = train.shapes[FEATURES]
    port = Port(
        "The features in the order and the units of the data.",
        axes_of(train.inputs[FEATURES], last="feature"),
        Scaling(numbers(mean), numbers(std), axis=len(shape) - 1),
        low=numbers(exact.min(axis=0)),
        high=numbers(exact.max(axis=0)),
        names=names,
    )
    return Prepared((Input(FEATURES, shape),), tensors, {FEATURES: port})
