"""Pooling."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.ops.op import Op, Shape
from search_spaces.quant import Quant


@dataclass(frozen=True)
class GlobalPool(Op):
    """Average over height and width: `(c, h, w)` becomes `(c, 1, 1)`."""

    activation: Quant | None = None

    def infer(self, *inputs: Shape) -> Shape:
        return (inputs[0][0], 1, 1)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]
