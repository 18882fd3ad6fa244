"""Sources: the operators that stand for what the network reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.ops.op import Op, Shape, Size


@dataclass(frozen=True)
class Input(Op):
    """A tensor that the network reads as it is, float32, of one `shape` per sample."""

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
