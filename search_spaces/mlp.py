"""The space of fully connected networks with elastic widths, depth, functions and precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Concat,
    Flatten,
    Input,
    Linear,
    Nonlinearity,
    Reshape,
    Shape,
    deeper_than,
)
from search_spaces.options import Distinct, Sizes
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace


def mlp(
    inputs: tuple[Input, ...],
    output: Shape,
    *,
    widths: Sizes = (16, 32, 64),
    depths: Sizes = (1, 2, 3),
    functions: Annotated[tuple[Nonlinearity, ...], Distinct] = ("relu",),
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> SearchSpace:
    """The space of fully connected networks.

    Args:
        inputs: The inputs, float32 of any shape; their numbers are joined into one vector.
        output: The shape of the output, which is any.
        widths: Options of the width of each hidden layer, ascending.
        depths: Options of the number of hidden layers, ascending, at least 1.
        functions: Options of the nonlinearity behind each hidden layer.
        policy: Precisions to choose from.

    Raises:
        ValueError: If an input holds whole numbers, or a depth is below 1.
    """
    _require_numbers(inputs, depths)
    graph = Graph(*inputs)
    vectors = [
        graph.add(f"{address}.flatten", Flatten(), address) if len(source.shape) > 1 else address
        for address, source in graph.inputs.items()
    ]
    if len(vectors) > 1:
        graph.add("join", Concat(len(vectors), policy.tensor()), *vectors)
    # A curved function reads integers, so that a runtime keeps the layer before it on integers.
    bent = any(Activation(function).clamp is None for function in functions)
    curved = policy.tensor() if bent else None
    depth = choice("depth", depths)
    for i in range(max(depths)):
        here = f"layer{i}"
        read = policy.layer("body", here, "linear") if i else policy.edge()
        there = deeper_than(depth, i) if i >= min(depths) else True
        graph.add(here, Linear(choice(f"{here}.width", widths), **read), present=there)
        bend = Activation(choice(f"{here}.function", functions), curved)
        graph.add(f"{here}.bend", bend, present=there)
    graph.add("head", Linear(math.prod(output), **policy.edge()))
    if len(output) != 1:
        graph.add("output", Reshape(output))
    return SearchSpace(graph, name="mlp")


def _require_numbers(inputs: Sequence[Input], depths: Sequence[int]) -> None:
    types = {source.name: source.dtype for source in inputs}
    if {*types.values()} != {"float32"}:
        raise ValueError(
            f"mlp reads inputs of measured values, float32, given {types}; for tokens, take a "
            "space that embeds them"
        )
    if min(depths) < 1:
        raise ValueError(f"mlp has at least one hidden layer, given depths {tuple(depths)}")
