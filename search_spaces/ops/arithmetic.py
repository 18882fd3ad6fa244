"""Operators that combine tensors number by number, or change every number alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.ops.op import Op, Shape
from search_spaces.quant import Quant


@dataclass(frozen=True)
class Add(Op):
    """Addition of two tensors, as in a residual block.

    The shapes have equal numbers of axes. An axis of length 1 is repeated along the other tensor.
    An absent `Add` hands on its first input.
    """

    arity: ClassVar[int] = 2
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True
    sums: ClassVar[bool] = True

    @property
    def homogeneous(self) -> bool:
        return True

    def infer(self, *inputs: Shape) -> Shape:
        return repeated("Add", *inputs)

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)


@dataclass(frozen=True)
class Multiply(Op):
    """Product of two tensors, such as an image `(c, h, w)` and its gate `(c, 1, 1)`.

    The shapes have equal numbers of axes. An axis of length 1 is repeated along the other tensor.
    """

    arity: ClassVar[int] = 2
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        return repeated("Multiply", *inputs)

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)


@dataclass(frozen=True)
class Scale(Op):
    """Every number times a constant `factor`, plus a constant `shift`."""

    factor: float = 1.0
    shift: float = 0.0
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0] and self.factor >= 0 and self.shift >= 0


def repeated(reader: str, first: Shape, second: Shape) -> Shape:
    """The shape of two tensors combined number by number, where axes of length 1 are repeated.

    Raises:
        ValueError: In the name of the operator `reader`, if the shapes do not fit each other.
    """
    pairs = [*zip(first, second, strict=False)]
    if len(first) != len(second) or any(a != b and 1 not in (a, b) for a, b in pairs):
        raise ValueError(
            f"{reader} needs equal shapes, or axes of length 1 in place of others, given {first} "
            f"and {second}; put a Reshape before the one with fewer axes"
        )
    return tuple(max(pair) for pair in pairs)
