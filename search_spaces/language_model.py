"""The space of language models: transformer decoders that predict each next token of a text.

A token attends to itself and to earlier tokens only. Norms are RMS norms, as in LLaMA (Touvron et
al. 2023), and positions are learned, as in GPT-2 (Radford et al. 2019).
"""

from __future__ import annotations

from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.interface import only_input
from search_spaces.ops import (
    Embedding,
    Input,
    Linear,
    Nonlinearity,
    RMSNorm,
    Shape,
)
from search_spaces.options import Sizes
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace
from search_spaces.transformer import Body


def language_model(
    inputs: tuple[Input, ...],
    output: Shape,
    *,
    widths: Sizes = (64, 96, 128),
    depths: Sizes = (2, 3, 4),
    heads: Sizes = (2, 4),
    head_sizes: Sizes = (16, 32),
    hidden: Sizes = (128, 256, 512),
    function: Nonlinearity = "gelu",
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> SearchSpace:
    """The space of causal transformers with a number per token of the vocabulary at every token.

    Args:
        inputs: The inputs of the task: the numbers of tokens, int64 `(tokens,)`.
        output: The shape of the task's output per sample: `(tokens, vocabulary)`.
        widths: Options of the features of a token between blocks, ascending, as all lists.
        depths: Options of the number of blocks, at least 1.
        heads: Options of the number of heads, for each block.
        head_sizes: Options of the features per head, for each block.
        hidden: Options of the features between the two linear layers of each block.
        function: The nonlinearity between these layers.
        policy: Precisions to choose from.

    Raises:
        ValueError: If the space cannot read the inputs or give the output.
    """
    given = only_input(inputs, space="language_model")
    width, vocabulary = choice("width", widths), _vocabulary(given, output)
    graph = Graph(given)
    graph.add("embed", Embedding(vocabulary, width, policy.edge()["weight"]))
    body = Body(
        width=width,
        depths=depths,
        heads=heads,
        head_sizes=head_sizes,
        hidden=hidden,
        norm=RMSNorm(activation=policy.tensor()),
        causal=True,
        function=function,
        policy=policy,
    )
    graph.add("head", Linear(vocabulary, **policy.edge()), body.add(graph, graph.output))
    return SearchSpace(graph, name="language_model")


def _vocabulary(given: Input, output: Shape) -> int:
    """The number of different tokens; raises `ValueError` if the space is not for such a task."""
    fits = len(output) == 2 and given.shape == output[:1] and given.values in (None, output[1])
    if given.dtype != "int64" or not fits:
        raise ValueError(
            "the space 'language_model' reads numbers of tokens, int64 (tokens,), and gives "
            f"(tokens, vocabulary), given {given.dtype} {given.shape} of {given.values or 'no'} "
            f"different values and an output of the shape {output}; choose another space"
        )
    return output[1]
