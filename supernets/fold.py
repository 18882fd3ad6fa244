"""Folding batch norms into the operators before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces.graph import Graph, Node
from search_spaces.quant import Float32, Quant
from supernets.blocks import from_rows, to_rows
from supernets.deployed import Deployed, Stored, values
from supernets.encoded import EncodedTensor, IntegerBias
from supernets.rounding import (
    best_steps,
    relative_bounds,
    snapped,
    squared_error_steps,
    zero_points,
)

Weight = EncodedTensor | NDArray[np.float32]


def fold_norms(deployed: Deployed) -> Deployed:
    """`deployed` with every norm that folds made part of the operator before the norm.

    A weight with float32 scales per channel or per group keeps its codes: the scales absorb the
    factor of the norm, and a negative factor mirrors the codes. The result is then exact. A weight
    with a single scale, or with scales of fewer bits, is multiplied by the factors and quantized
    again, on the grid with the least squared error.

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


def absorbs(quant: Quant) -> bool:
    """Whether the scales of a weight can hold a factor per output channel without rounding."""
    return quant.granularity.by_channel and quant.scales == Float32()


def rounded_anew(weight: Stored) -> bool:
    """Whether folding a norm into `weight` quantizes the weight again."""
    return isinstance(weight, EncodedTensor) and not absorbs(weight.quant)


def folded_weight(weight: Weight, factor: NDArray[np.float64]) -> Weight:
    """The weight times `factor` `(out,)`; a quantized weight stays quantized."""
    if not isinstance(weight, EncodedTensor):
        return (weight * _column(factor, weight)).astype(np.float32)
    if absorbs(weight.quant):
        return _absorbed(weight, factor)
    return _requantized(weight, factor)


def _column(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _absorbed(weight: EncodedTensor, factor: NDArray[np.float64]) -> EncodedTensor:
    """The weight with the factors in its scales; a negative factor mirrors numbers and zero."""
    number_format, turn = weight.quant.format, sum(weight.quant.format.bounds)
    shape, over = weight.quant.granularity.split(weight.codes.shape)
    factors = np.broadcast_to(_column(factor, weight.scale), weight.scale.shape)
    negative, numbers = factors < 0, weight.numbers().reshape(shape)
    numbers = np.where(negative.reshape(over), turn - numbers, numbers)
    zero = np.where(negative, turn - weight.zero_point, weight.zero_point)
    # A factor of zero switches a channel off. Scales must be positive, so its values become zero.
    off = np.abs(factors) * weight.scale < np.finfo(np.float32).tiny
    numbers = np.where(off.reshape(over), zero.reshape(over), numbers)
    scale = np.where(off, weight.scale, np.abs(factors) * weight.scale)
    return replace(
        weight,
        codes=number_format.encode(numbers).astype(np.int32).reshape(weight.codes.shape),
        scale=scale.astype(np.float32),
        zero_point=zero.astype(np.int32),
    )


def _requantized(weight: EncodedTensor, factor: NDArray[np.float64]) -> EncodedTensor:
    """The folded weight on the grid with the least squared error.

    Scales that belong to a channel may also be the nearest to those that absorb the factor.
    """
    quant, shape = weight.quant, weight.codes.shape
    values = (weight.values() * _column(factor, weight.codes)).astype(np.float32)
    blocks, counts = quant.granularity.blocks(shape), quant.granularity.counts(shape)
    rows = to_rows(torch.from_numpy(values), blocks)
    if quant.granularity.by_channel:
        absorbed = _absorbed(weight, factor)
        zero = torch.from_numpy(absorbed.zero_point.reshape(-1))
        bounds = relative_bounds(quant.format, zero.unsqueeze(1))
        near = torch.from_numpy(quant.scales.snap(absorbed.scale).reshape(-1))
        steps = torch.stack([near, squared_error_steps(rows, quant, zero)])
        step = best_steps(rows, quant.format, bounds, steps)
    else:
        zero = zero_points(rows, quant.format)
        bounds = relative_bounds(quant.format, zero.unsqueeze(1))
        step = squared_error_steps(rows, quant, zero)
    numbers = snapped(quant.format, rows / step.unsqueeze(1), bounds) + zero.unsqueeze(1)
    return replace(
        weight,
        codes=quant.format.encode(from_rows(numbers, shape, blocks).numpy()).astype(np.int32),
        scale=step.numpy().reshape(counts),
        zero_point=zero.numpy().reshape(counts),
    )
