"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from search_spaces.ops.op import Op, Parameter, Role, Shape, Size, per_channel
from search_spaces.quant import Quant


@dataclass(frozen=True)
class Linear(Op):
    """Fully connected layer with bias; an image input is flattened."""

    out: Size
    weight: Quant | None = None
    activation: Quant | None = None
    absorbs: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        return (self.out,)

    def macs(self, *inputs: Shape) -> int:
        return math.prod(inputs[0]) * self.out

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        # Not flattened: channels are sliced before the rows run together.
        roles: tuple[Role, ...] = ("out", "in", *("window" for _ in inputs[0][1:]))
        return {"weight": Parameter((self.out, *inputs[0]), roles), "bias": per_channel(self.out)}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        weight = Parameter((self.out, math.prod(inputs[0])), ("out", "in"))
        return {"weight": weight, "bias": per_channel(self.out)}
