"""The operators of attention (Vaswani et al. 2017, section 3.2), none of which has weights.

Attention is three `Linear`, each behind which `SplitHeads` separates the heads, a `MatMul` of
queries and keys, a `Softmax`, a `MatMul` with the values, `MergeHeads`, and a `Linear`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from search_spaces.ops.op import Op, Shape, Size, filled_up
from search_spaces.quant import Quant

Scale = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class SplitHeads(Op):
    """The features of each token, cut into `heads` heads of equal size, with the heads in front.

    `(tokens, heads * size)` becomes `(heads, tokens, size)`.
    """

    heads: Size
    keeps_values: ClassVar[bool] = True
    channel_axis: ClassVar[int] = -1

    def infer(self, *inputs: Shape) -> Shape:
        tokens, features = tokens_of(inputs[0], "SplitHeads")
        if features % self.heads:
            raise ValueError(
                f"SplitHeads cuts into {self.heads} heads, which do not divide the {features} "
                "features that it reads; let a Linear with as many heads make the features"
            )
        return (self.heads, tokens, features // self.heads)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        heads, tokens, size = self.infer(*inputs)
        return self, ((tokens, heads * filled_up(size, multiple)),)


@dataclass(frozen=True)
class MergeHeads(Op):
    """The heads of each token one after the other, the inverse of `SplitHeads`.

    `(heads, tokens, size)` becomes `(tokens, heads * size)`.
    """

    keeps_values: ClassVar[bool] = True
    channel_axis: ClassVar[int] = -1

    def infer(self, *inputs: Shape) -> Shape:
        if len(inputs[0]) != 3:
            raise ValueError(
                f"MergeHeads reads (heads, tokens, size), given the shape {inputs[0]}; put a "
                "SplitHeads before it"
            )
        heads, tokens, size = inputs[0]
        return (tokens, heads * size)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class MatMul(Op):
    """The matrix product of two activations, times `scale`: `(..., m, k)` and `(..., k, n)`.

    Attributes:
        transposed: Whether the second input is `(..., n, k)`, as the keys of attention are.
        scale: A factor for all numbers of the product. For attention it is one over the square root
            of `k`; `inverse_root` derives it from an elastic head size.
    """

    arity: ClassVar[int] = 2
    transposed: bool = False
    scale: Scale = 1.0
    activation: Quant | None = None
    channel_axis: ClassVar[int] = -1
    products: ClassVar[bool] = True

    def infer(self, *inputs: Shape) -> Shape:
        first, second = inputs
        whole = len(first) == len(second) > 1 and first[:-2] == second[:-2]
        shared, columns = second[-2:] if whole else (0, 0)
        if self.transposed:
            shared, columns = columns, shared
        if not whole or first[-1] != shared:
            wanted = "(..., n, k)" if self.transposed else "(..., k, n)"
            raise ValueError(
                f"MatMul multiplies (..., m, k) by {wanted} with equal other axes, given the "
                f"shapes {inputs[0]} and {inputs[1]}"
            )
        return (*first[:-1], columns)

    def macs(self, *inputs: Shape) -> int:
        return math.prod(self.infer(*inputs)) * inputs[0][-1]

    def never_negative(self, *inputs: bool) -> bool:
        return all(inputs)

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        return self, tuple(
            (*shape[:-2], *(filled_up(length, multiple) for length in shape[-2:]))
            for shape in inputs
        )


@dataclass(frozen=True)
class Softmax(Op):
    """The softmax over the last axis, whose numbers then add up to one.

    Attributes:
        causal: Whether the last two axes are tokens, `(..., tokens, tokens)`, and each token
            attends only to itself and to the tokens before. The mask is part of the operator, so
            that no quantizer ever meets the infinite numbers that a mask of its own would write.
    """

    causal: bool = False
    activation: Quant | None = None
    channel_axis: ClassVar[int] = -1

    def infer(self, *inputs: Shape) -> Shape:
        if not inputs[0]:
            raise ValueError("Softmax reads the last axis, given a single number per sample")
        if self.causal and (len(inputs[0]) < 2 or inputs[0][-1] != inputs[0][-2]):
            raise ValueError(
                f"a causal Softmax reads (..., tokens, tokens), given the shape {inputs[0]}; give "
                "queries and keys of the same tokens"
            )
        return inputs[0]

    def never_negative(self, *inputs: bool) -> bool:
        return True


def tokens_of(shape: Shape, reader: str) -> tuple[int, int]:
    """The number of tokens and of features of the shape of a sequence.

    Raises:
        ValueError: In the name of the operator `reader`, if the shape is not that of a sequence.
    """
    if len(shape) != 2:
        raise ValueError(
            f"{reader} reads sequences, (tokens, features), given the shape {shape}; put a Reshape "
            "before it, or a Flatten(1) and a Permute((1, 0)) behind an image"
        )
    return shape[0], shape[1]
