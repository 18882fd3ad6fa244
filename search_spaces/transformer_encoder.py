"""The space of transformer encoders: tokens, patches or rows of numbers in, one vector out.

Vision transformers are encoders of patches (Dosovitskiy et al. 2021), with elastic widths, heads
and depths as in AutoFormer (Chen et al. 2021).
"""

from __future__ import annotations

from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.interface import numbers_given, only_input
from search_spaces.ops import (
    Conv2d,
    Embedding,
    Flatten,
    Input,
    LayerNorm,
    Linear,
    MeanTokens,
    Nonlinearity,
    Permute,
    Reshape,
    Shape,
)
from search_spaces.options import Size, Sizes
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace
from search_spaces.transformer import Body


def transformer_encoder(
    inputs: tuple[Input, ...],
    output: Shape,
    *,
    widths: Sizes = (64, 96, 128),
    depths: Sizes = (2, 3, 4),
    heads: Sizes = (2, 4),
    head_sizes: Sizes = (16, 32),
    hidden: Sizes = (128, 256, 512),
    function: Nonlinearity = "gelu",
    patch: Size | None = None,
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> SearchSpace:
    """The space of transformer encoders whose output is read from the mean of all tokens.

    The input is an image `(channels, height, width)`, cut into square patches; a sequence of
    vectors `(tokens, features)`; a vector `(features,)`, each number of which is a token; or
    numbers of tokens, int64 `(tokens,)`, whose `Input.values` is the vocabulary.

    Args:
        inputs: The inputs of the task, a single one.
        output: The shape of the task's output per sample: `(classes,)` or `(values,)`.
        widths: Options of the features of a token between blocks, ascending, as all lists.
        depths: Options of the number of blocks, at least 1.
        heads: Options of the number of heads, for each block.
        head_sizes: Options of the features per head, for each block.
        hidden: Options of the features between the two linear layers of each block.
        function: The nonlinearity between these layers.
        patch: The height and width of a patch; needed for images, and only for these.
        policy: Precisions to choose from.

    Raises:
        ValueError: If the space cannot read the inputs or give the output.
    """
    numbers = numbers_given(output, space="transformer_encoder")
    given, width = only_input(inputs, space="transformer_encoder"), choice("width", widths)
    graph = Graph(given)
    _embed(graph, given, width, policy, patch=patch)
    body = Body(
        width=width,
        depths=depths,
        heads=heads,
        head_sizes=head_sizes,
        hidden=hidden,
        norm=LayerNorm(activation=policy.tensor()),
        causal=False,
        function=function,
        policy=policy,
    )
    graph.add("mean", MeanTokens(policy.tensor()), body.add(graph, graph.output))
    graph.add("head", Linear(numbers, **policy.edge()))
    return SearchSpace(graph, name="transformer_encoder")


def _embed(graph: Graph, given: Input, width: int, policy: Policy, *, patch: int | None) -> None:
    """Append what turns the input of the graph into tokens of `width` features."""
    linear = Linear(width, **policy.edge())
    match len(given.shape), given.dtype, patch, given.values:
        case 3, "float32", int() as side, None:
            graph.add("embed", Conv2d(width, side, side, padding=0, bias=True, **policy.edge()))
            graph.add("embed.flat", Flatten(1))
            graph.add("embed.tokens", Permute((1, 0)))
        case 2, "float32", None, None:
            graph.add("embed", linear)
        case 1, "float32", None, None:
            graph.add("embed.tokens", Reshape((-1, 1)))
            graph.add("embed", linear)
        case 1, "int64", None, int() as count:
            graph.add("embed", Embedding(count, width, policy.edge()["weight"]))
        case _:
            raise ValueError(
                "the space 'transformer_encoder' reads an image, float32 (channels, height, "
                "width), with the option patch; and without it counted tokens, int64 (tokens,), "
                "vectors (tokens, features), or numbers (features,); given "
                f"{given.name!r}, {given.dtype} {given.shape}, {given.values or 'no'} different "
                f"values, and patch {patch}"
            )
