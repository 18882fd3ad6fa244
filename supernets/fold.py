"""Folding batch norms into the operators before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces.graph import Graph, Node
from supernets.deployed import Deployed, Stored, values
from supernets.encoded import EncodedTensor, IntegerBias
from supernets.quantizers import relative_bounds, squared_error_steps, zero_points

Weight = EncodedTensor | NDArray[np.float32]


def fold_norms(deployed: Deployed) -> Deployed:
    """`deployed` with every norm that folds made part of the operator before the norm.

    A weight with a scale per channel keeps its codes: the scale absorbs the factor of the norm, and
    a negative factor mirrors the codes. The result is then exact. A weight with a single scale is
    multiplied by the factors and quantized again, on the grid with the least squared error.

    Raises:
        ValueError: If the operator before a norm cannot absorb the norm.
    """
    graph, norms = without_norms(deployed.graph)
    parameters = {a: held for a, held in deployed.parameters.items() if a in graph.nodes}
    for address, norm in norms.items():
        held = {name: values(stored) for name, stored in deployed.parameters[norm].items()}
        factor, shift = deployed.graph.nodes[norm].op.affine(held)
        parameters[address] = _folded(parameters[address], factor, shift)
    return replace(deployed, graph=graph, parameters=parameters)


def without_norms(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """The graph without the norms that fold, and a map from each absorbing operator to its norm.

    Raises:
        ValueError: If the operator before a norm cannot absorb the norm.
    """
    readers = graph.consumers()
    norms: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    source: dict[str, str] = {}
    for address, node in graph.nodes.items():
        inputs = tuple(source[read] for read in node.inputs)
        source[address] = address
        if not node.op.folds:
            nodes[address] = Node(node.op, inputs)
            continue
        (before,) = node.inputs
        giver = graph.nodes[before].op
        alike = giver.absorbs and giver.channel_axis == node.op.channel_axis
        if not alike or len(readers[before]) > 1:
            raise ValueError(
                f"{type(node.op).__name__} {address!r} cannot be folded: it reads {before!r}, "
                "which absorbs no norm over its channels or is read by others too; put it right "
                "behind a convolution"
            )
        norms[before] = address
        source[address] = before
    return Graph.from_nodes(nodes), norms


def _folded(
    held: Mapping[str, Stored], factor: NDArray[Any], shift: NDArray[Any]
) -> dict[str, Stored]:
    """The parameters of an operator after it has absorbed a `factor` and a `shift` per channel."""
    weight = held["weight"]
    assert not isinstance(weight, IntegerBias)
    bias = shift if "bias" not in held else shift + values(held["bias"]) * factor
    return {**held, "weight": folded_weight(weight, factor), "bias": bias.astype(np.float32)}


def rounded_anew(weight: Stored) -> bool:
    """Whether folding a norm into `weight` quantizes the weight again; True with a single scale."""
    return isinstance(weight, EncodedTensor) and not weight.quant.per_channel


def folded_weight(weight: Weight, factor: NDArray[np.float64]) -> Weight:
    """The weight times `factor` `(out,)`; a quantized weight stays quantized."""
    if not isinstance(weight, EncodedTensor):
        return (weight * _column(factor, weight)).astype(np.float32)
    if weight.quant.per_channel:
        return _absorbed(weight, factor)
    return _requantized(weight, factor)


def _column(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _absorbed(weight: EncodedTensor, factor: NDArray[np.float64]) -> EncodedTensor:
    """The weight with the factors in its scales; a negated code is `lowest + highest - code`."""
    turn = sum(weight.quant.code_range)
    negative = factor < 0
    codes = np.where(_column(negative, weight.codes), turn - weight.codes, weight.codes)
    zero = np.where(negative, turn - weight.zero_point, weight.zero_point)
    # A factor of zero switches a channel off. Scales must be positive, so its codes become zero.
    off = np.abs(factor) * weight.scale < np.finfo(np.float32).tiny
    codes = np.where(_column(off, codes), zero.reshape(_column(off, codes).shape), codes)
    scale = np.where(off, weight.scale, np.abs(factor) * weight.scale)
    return replace(
        weight,
        codes=codes.astype(np.int32),
        scale=scale.astype(np.float32),
        zero_point=zero.astype(np.int32),
    )


def _requantized(weight: EncodedTensor, factor: NDArray[np.float64]) -> EncodedTensor:
    """The folded weight on the grid with the least squared error, with a single scale."""
    values = (weight.values() * _column(factor, weight.codes)).astype(np.float32)
    row = torch.from_numpy(values.reshape(1, -1))
    zero = zero_points(row, weight.quant)
    step = squared_error_steps(row, weight.quant, zero)
    low, high = relative_bounds(weight.quant, zero)
    codes = torch.round(row / step).clamp_(low, high).int() + zero  # pyright: ignore[reportArgumentType, reportCallIssue]
    return replace(
        weight,
        codes=codes.numpy().reshape(weight.codes.shape),
        scale=step.numpy(),
        zero_point=zero.numpy(),
    )
