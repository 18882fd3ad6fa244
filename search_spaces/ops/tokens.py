"""Operators on sequences of tokens: their embedding, their positions, and their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from search_spaces.ops.attention import tokens_of
from search_spaces.ops.op import DType, Op, Parameter, Shape, Size, filled_up
from search_spaces.quant import Quant


@dataclass(frozen=True)
class Embedding(Op):
    """A table of `count` entries with `out` learned numbers each, looked up by integer tokens.

    `(...)` gives `(..., out)`. A narrower embedding uses the first numbers of each entry. With a
    precision per channel, every entry has a scale of its own. There is no `activation`, since
    tokens are not rounded. Tokens are `0` to `count - 1`.
    """

    count: Size
    out: Size
    weight: Quant | None = None
    reads: ClassVar[DType] = "int64"
    looks_up: ClassVar[bool] = True
    channel_axis: ClassVar[int] = -1

    @property
    def entries(self) -> int | None:
        return self.count

    def infer(self, *inputs: Shape) -> Shape:
        return (*inputs[0], self.out)

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {"weight": Parameter((self.count, self.out), ("entry", "out"), "small")}

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        return replace(self, out=filled_up(self.out, multiple)), inputs

    def weights_read(self, *inputs: Shape) -> int:
        return min(self.count, math.prod(inputs[0])) * self.out


@dataclass(frozen=True)
class PositionalEmbedding(Op):
    """The sum of each token and the learned numbers of its position (Gehring et al. 2017).

    A shorter sequence uses the numbers of the first positions, and a narrower one the first numbers
    of each position.
    """

    activation: Quant | None = None
    channel_axis: ClassVar[int] = -1

    def infer(self, *inputs: Shape) -> Shape:
        tokens_of(inputs[0], "PositionalEmbedding")
        return inputs[0]

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {"positions": Parameter(inputs[0], ("out", "out"), "small")}


@dataclass(frozen=True)
class MeanTokens(Op):
    """The mean over all tokens of a sequence: `(tokens, features)` becomes `(features,)`."""

    activation: Quant | None = None
    channel_axis: ClassVar[int] = -1

    def infer(self, *inputs: Shape) -> Shape:
        _, features = tokens_of(inputs[0], "MeanTokens")
        return (features,)

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class Learned(Op):
    """A learned tensor of the given `shape`, the same for every sample, such as a class token.

    Only the number of samples of the input matters.

    Attributes:
        trained: Whether training changes the numbers; False for constants, such as a mask.
    """

    shape: tuple[Size, ...]
    trained: bool = True
    channel_axis: ClassVar[int] = -1

    @property
    def runs(self) -> bool:
        return False

    @property
    def passes(self) -> bool:
        return False

    def infer(self, *inputs: Shape) -> Shape:
        return self.shape

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        return {"numbers": Parameter(self.shape, ("out",) * len(self.shape), "small")}
