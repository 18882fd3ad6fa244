"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from search_spaces.ops.op import Op, Parameter, Shape, Size, filled_up, per_channel
from search_spaces.quant import Quant


@dataclass(frozen=True)
class Linear(Op):
    """Fully connected layer with bias over the last axis: `(..., features)` gives `(..., out)`.

    Images need a `Flatten` before this layer.
    """

    out: Size
    weight: Quant | None = None
    activation: Quant | None = None
    absorbs: ClassVar[bool] = True
    channel_axis: ClassVar[int] = -1
    mixes_channels: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        if not inputs[0]:
            raise ValueError(
                "Linear reads features along the last axis, given a single number per sample; put "
                "a Reshape((1,)) before it"
            )
        return (*inputs[0][:-1], self.out)

    def macs(self, *inputs: Shape) -> int:
        return math.prod(inputs[0]) * self.out

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        weight = Parameter((self.out, inputs[0][-1]), ("out", "in"))
        return {"weight": weight, "bias": per_channel(self.out)}

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        _, wider = super().padded(multiple, *inputs)
        return replace(self, out=filled_up(self.out, multiple)), wider
