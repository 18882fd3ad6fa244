"""Operators on sequences of tokens: their positions, and their mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from search_spaces.ops.attention import tokens_of
from search_spaces.ops.op import Op, Parameter, Shape
from search_spaces.quant import Quant


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
