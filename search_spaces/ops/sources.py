"""Sources: the operators that stand for the inputs of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.ops.op import Op, Shape, Size


@dataclass(frozen=True)
class Input(Op):
    """An input tensor of the network, float32, with the given `shape` per sample; never resized."""

    arity: ClassVar[int] = 0
    shape: tuple[Size, ...]

    def infer(self, *inputs: Shape) -> Shape:
        return self.shape


@dataclass(frozen=True)
class Image(Op):
    """The input image, resized to `size x size`; `size` may be a choice of resolution."""

    arity: ClassVar[int] = 0
    channels: Size
    size: Size

    def infer(self, *inputs: Shape) -> Shape:
        return (self.channels, self.size, self.size)
