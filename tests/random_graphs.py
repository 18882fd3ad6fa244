"""Random graphs of coupled channels, for tests that hold for any network."""

from __future__ import annotations

import numpy as np

from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    DepthToSpace,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    GroupNorm,
    Input,
    LayerNorm,
    Linear,
    MatMul,
    MergeHeads,
    Multiply,
    Op,
    Permute,
    Reshape,
    Softmax,
    SplitHeads,
)


def convolutional(seed: int) -> Graph:
    """A random network on images `(3, 8, 8)` with 5 outputs."""
    made = _Made(np.random.default_rng(seed))
    made.add(Conv2d(8, 3))
    for _ in range(5):
        made.extend()
    made.end()
    return made.graph


def attention(seed: int, *, heads: int = 3) -> Graph:
    """A block of attention and one of linear layers, on 4 tokens of random width, 5 outputs."""
    rng = np.random.default_rng(seed)
    width, size = int(rng.integers(3, 8)), int(rng.integers(1, 4))
    graph = Graph(Input("tokens", (4, 6)))
    x = graph.add("embed", Linear(width))
    graph.add("norm1", LayerNorm())
    for name in ("query", "key", "value"):
        graph.add(name, Linear(heads * size), "norm1")
        graph.add(f"{name}.heads", SplitHeads(heads))
    graph.add("scores", MatMul(transposed=True), "query.heads", "key.heads")
    graph.add("softmax", Softmax())
    graph.add("mix", MatMul(), "softmax", "value.heads")
    graph.add("merge", MergeHeads())
    graph.add("out", Linear(width))
    x = graph.add("add1", Add(), "out", x)
    graph.add("widen", Linear(int(rng.integers(4, 9))))
    graph.add("gelu", Activation("gelu"))
    graph.add("narrow", Linear(width))
    graph.add("add2", Add(), "narrow", x)
    graph.add("flat", Flatten())
    graph.add("head", Linear(5))
    return graph


class _Made:
    """A graph that grows at its end; every image has 4 channels or a multiple of 4."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.graph = Graph(Input("image", (3, 8, 8)))

    def add(self, op: Op, *inputs: str) -> str:
        return self.graph.add(f"node{len(self.graph.nodes)}", op, *inputs)

    def extend(self) -> None:
        kinds = (self.plain, self.residual, self.branches, self.gate, self.shuffled, self.grouped)
        kinds[self.rng.integers(len(kinds))]()

    @property
    def channels(self) -> int:
        return self.graph.shapes()[self.graph.output][0]

    def plain(self) -> None:
        self.add(Conv2d(4 * int(self.rng.integers(1, 4)), 3, bias=True))
        self.add(BatchNorm2d())
        self.add(Activation("relu"))

    def residual(self) -> None:
        x, channels = self.graph.output, self.channels
        self.plain()
        self.add(DepthwiseConv2d(3))
        main = self.add(Conv2d(channels, 1))
        self.add(Add(), main, x)

    def branches(self) -> None:
        x = self.graph.output
        left = self.add(Conv2d(4, 1), x)
        right = self.add(Conv2d(8, 3), x)
        self.add(Concat(3), left, right, x)

    def gate(self) -> None:
        x, channels = self.graph.output, self.channels
        self.add(GlobalPool())
        self.add(Conv2d(4, 1))
        self.add(Activation("relu"))
        gate = self.add(Conv2d(channels, 1))
        self.add(Multiply(), x, self.add(Activation("sigmoid"), gate))

    def shuffled(self) -> None:
        self.add(Conv2d(8, 1))
        side = self.graph.shapes()[self.graph.output][1]
        self.add(Reshape((2, 4, side, side)))
        self.add(Permute((1, 0, 2, 3)))
        self.add(Reshape((8, side, side)))

    def grouped(self) -> None:
        self.add(Conv2d(8, 3, groups=4))
        self.add(GroupNorm(2))
        if self.rng.integers(2):
            self.add(DepthToSpace(2))
            self.add(Conv2d(8, 1, 2))

    def end(self) -> None:
        if self.rng.integers(2):
            self.add(GlobalPool())
        else:
            self.add(AvgPool2d(self.graph.shapes()[self.graph.output][1] // 2, 2))
        self.add(Flatten())
        self.add(Linear(5))
