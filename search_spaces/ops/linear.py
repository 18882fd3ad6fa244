"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from search_spaces.ops.op import Op, Parameter, Role, Shape, Size, filled_up, per_channel
from search_spaces.quant import Quant


@dataclass(frozen=True)
class Linear(Op):
    """Fully connected layer with bias over the last axis: `(..., features)` gives `(..., out)`.

    Images need a `Flatten` before this layer. An operator with elastic heads states how its
    features are made of heads, since a narrower subnet uses the first features of the first heads.

    Attributes:
        out: The number of output features; if `heads` is given, the number of each head.
        heads: The number of heads in the output, as `SplitHeads` reads them; None without heads.
        heads_read: The number of heads in the input, as `MergeHeads` writes them; None without
            heads.
        sets: How often all heads come one after the other: 3 in a layer that makes queries, keys
            and values. None is once.
    """

    out: Size
    weight: Quant | None = None
    activation: Quant | None = None
    heads: Size | None = None
    heads_read: Size | None = None
    sets: Size | None = None
    younger: ClassVar[frozenset[str]] = frozenset({"heads", "heads_read", "sets"})
    absorbs: ClassVar[bool] = True
    channel_axis: ClassVar[int] = -1
    mixes_channels: ClassVar[bool] = True

    @property
    def sums_all_channels(self) -> bool:
        return self.heads is None and self.heads_read is None

    def canonical(self) -> Self:
        return replace(self, out=self._features, heads=None, heads_read=None, sets=None)

    def with_sets(self, sets: int, heads: int, size: int) -> Self:
        return replace(self, out=size, heads=heads, sets=sets)

    def __post_init__(self) -> None:
        if self.sets is not None and self.heads is None:
            raise ValueError(
                f"Linear gives {self.sets} sets of heads, given no number of heads; say how many "
                "heads each set has"
            )

    def infer(self, *inputs: Shape) -> Shape:
        if not inputs[0]:
            raise ValueError(
                "Linear reads features along the last axis, given a single number per sample; put "
                "a Reshape((1,)) before it"
            )
        if inputs[0][-1] % (self.heads_read or 1):
            raise ValueError(
                f"Linear reads {self.heads_read} heads, which do not divide the {inputs[0][-1]} "
                "features that it reads; give it the heads of the MergeHeads before it"
            )
        return (*inputs[0][:-1], self._features)

    def macs(self, *inputs: Shape) -> int:
        return math.prod(inputs[0]) * self._features

    def parameters(self, *inputs: Shape) -> Mapping[str, Parameter]:
        out = tuple(n for n in (self.sets, self.heads, self.out) if n is not None)
        read = inputs[0][-1:]
        if self.heads_read is not None:
            read = (self.heads_read, inputs[0][-1] // self.heads_read)
        given: tuple[Role, ...] = ("out",) * len(out)
        taken: tuple[Role, ...] = ("in",) * len(read)
        bias = Parameter(out, given, "zeros")
        return {"weight": Parameter(out + read, given + taken), "bias": bias}

    def deployed(self, *inputs: Shape) -> Mapping[str, Parameter]:
        weight = Parameter((self._features, inputs[0][-1]), ("out", "in"))
        return {"weight": weight, "bias": per_channel(self._features)}

    def padded(self, multiple: int, *inputs: Shape) -> tuple[Op, tuple[Shape, ...]]:
        _, wider = super().padded(multiple, *inputs)
        whole = self.canonical()
        return replace(whole, out=filled_up(whole.out, multiple)), wider

    @property
    def _features(self) -> int:
        """The number of all output features."""
        return self.out * (self.heads or 1) * (self.sets or 1)
