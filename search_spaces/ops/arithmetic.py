"""Operators that combine two tensors number by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.ops.op import Op, Shape
from search_spaces.quant import Quant


@dataclass(frozen=True)
class Add(Op):
    """Residual addition of two tensors of equal shape; an absent `Add` hands on its first input."""

    arity: ClassVar[int] = 2
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        if inputs[0] != inputs[1]:
            raise ValueError(f"Add needs two equal shapes, given {inputs[0]} and {inputs[1]}")
        return inputs[0]

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)


@dataclass(frozen=True)
class Multiply(Op):
    """Product of the first input `(c, h, w)` and the second input, a gate `(c, 1, 1)`."""

    arity: ClassVar[int] = 2
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        if inputs[1] != (inputs[0][0], 1, 1):
            raise ValueError(
                f"Multiply needs a gate of shape {(inputs[0][0], 1, 1)}, given {inputs[1]}"
            )
        return inputs[0]

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)
