"""The body of spaces on tokens: transformer blocks with elastic heads, widths and depth.

A block has two residual parts, attention and a pair of linear layers, each with a norm in front
(Vaswani et al. 2017; the place of the norms is that of Radford et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    Linear,
    MatMul,
    MergeHeads,
    Nonlinearity,
    Op,
    PositionalEmbedding,
    Softmax,
    SplitHeads,
    deeper_than,
    inverse_root,
)
from search_spaces.policy import LayerPrecision, Policy

_STAGE = "blocks"


@dataclass(frozen=True, kw_only=True)
class Body:
    """The body of a transformer space and the options of its choices, each list ascending.

    The body consists of positional embeddings, transformer blocks and a last norm.

    Queries, keys and values have the same precision, which the policy calls the layer `qkv`. The
    two matrix products of attention have precisions of their own, `scores` and `mix`, unless the
    fineness of the policy lets all layers of a block share one.

    Attributes:
        width: The features of a token between blocks; may be a choice.
        depths: Options of the number of blocks, at least 1.
        heads: Options of the number of heads of a block.
        head_sizes: Options of the features per head of a block.
        hidden: Options of the features between the two linear layers of a block.
        norm: The norm in front of attention and of the linear layers.
        causal: Whether a token attends only to itself and to earlier tokens.
        function: The nonlinearity between the two linear layers.
        policy: Precisions to choose from.
    """

    width: int
    depths: Sequence[int]
    heads: Sequence[int]
    head_sizes: Sequence[int]
    hidden: Sequence[int]
    norm: Op
    causal: bool
    function: Nonlinearity
    policy: Policy

    def add(self, graph: Graph, x: str) -> str:
        """Append the body, which reads the tokens at `x`; returns the address of its output."""
        x = graph.add("positions", PositionalEmbedding(self.policy.tensor()), x)
        depth = choice("depth", self.depths)
        for b in range(max(self.depths)):
            block = _Block(self, graph, f"block{b}")
            there = deeper_than(depth, b) if b >= min(self.depths) else True
            x = block.linear_layers(block.attention(x, there=there), there=there)
        return graph.add("norm", self.norm, x)


@dataclass(frozen=True)
class _Block:
    made: Body
    graph: Graph
    name: str

    def attention(self, x: str, *, there: bool) -> str:
        """Append attention over the tokens at `x`, and the addition of its output to `x`."""
        made, policy = self.made, self.made.policy
        heads = choice(f"{self.name}.heads", made.heads)
        size = choice(f"{self.name}.head_size", made.head_sizes)
        normed = self._add("norm1", made.norm, x, there=there)
        query, key, value = (
            self._add(
                f"{name}.heads",
                SplitHeads(heads),
                self._add(
                    name, Linear(size, heads=heads, **self._bits("qkv")), normed, there=there
                ),
                there=there,
            )
            for name in ("query", "key", "value")
        )
        bits = self._bits("scores")["activation"]
        product = MatMul(transposed=True, scale=inverse_root(size), activation=bits)
        scores = self._add("scores", product, query, key, there=there)
        shares = self._add("softmax", Softmax(made.causal), scores, there=there)
        bits = self._bits("mix")["activation"]
        mixed = self._add("mix", MatMul(activation=bits), shares, value, there=there)
        merged = self._add("merge", MergeHeads(), mixed, there=there)
        out = Linear(made.width, heads_read=heads, **self._bits("out"))
        given = self._add("out", out, merged, there=there)
        return self._add("add1", Add(policy.tensor()), given, x, there=there)

    def linear_layers(self, x: str, *, there: bool) -> str:
        """Append two linear layers on each token at `x`, and the addition of their output."""
        made, policy = self.made, self.made.policy
        hidden = choice(f"{self.name}.hidden", made.hidden)
        y = self._add("norm2", made.norm, x, there=there)
        y = self._add("widen", Linear(hidden, **self._bits("widen")), y, there=there)
        y = self._add(made.function, Activation(made.function, policy.tensor()), y, there=there)
        y = self._add("narrow", Linear(made.width, **self._bits("narrow")), y, there=there)
        return self._add("add2", Add(policy.tensor()), y, x, there=there)

    def _bits(self, layer: str) -> LayerPrecision:
        return self.made.policy.layer(_STAGE, self.name, layer)

    def _add(self, name: str, op: Op, *inputs: str, there: bool) -> str:
        return self.graph.add(f"{self.name}.{name}", op, *inputs, present=there)
