"""Normalizations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from search_spaces.ops.op import FloatArray, Op, Parameter, Shape, per_channel


@dataclass(frozen=True)
class BatchNorm2d(Op):
    """Batch normalization over channels; folded into the convolution before it on deployment.

    Besides `scale` and `shift`, an extracted one holds the `mean` and `variance` of its inputs.
    """

    folds: ClassVar[bool] = True
    epsilon: ClassVar[float] = 1e-5  # keeps the division by a variance of zero finite

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        channels = inputs[0][0]
        return {"scale": per_channel(channels, "ones"), "shift": per_channel(channels)}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {}

    def affine(self, held: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        factor = held["scale"] / np.sqrt(held["variance"].astype(np.float64) + self.epsilon)
        return factor, held["shift"] - held["mean"] * factor
