"""Channels that can be scaled: divided where they are written and multiplied where they are read.

A channel may be divided by a positive number in the operator that writes the channel, and
multiplied by the same number in all operators that read it, if everything between them hands such
factors on, as ReLU does (Nagel et al. 2019, section 4.1). The function of the network stays the
same, while its weights and activations become easier to round.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from search_spaces.graph import Graph, Node
from search_spaces.ops import (
    Affine,
    Convolution,
    GroupNorm,
    LayerNorm,
    Linear,
    Op,
    RMSNorm,
    Shape,
)
from supernets.deployed import Deployed, values

Factors = NDArray[np.float64]
_PINNED = ""


@dataclass(frozen=True)
class Scaled:
    """Channels that have one factor each.

    Attributes:
        count: The number of channels.
        writers: The addresses of the operators that write the channels.
        readers: The addresses of the operators that read the channels.
    """

    count: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]


@singledispatch
def written(op: Op) -> tuple[str, ...]:  # noqa: ARG001
    """The parameters in which the output of an operator is linear, by their names."""
    return ()


@written.register(Convolution)
@written.register(Linear)
def _(op: Op) -> tuple[str, ...]:  # noqa: ARG001
    return "weight", "bias"


@written.register(Affine)
@written.register(LayerNorm)
@written.register(GroupNorm)
def _(op: Op) -> tuple[str, ...]:  # noqa: ARG001
    return "scale", "shift"


@written.register
def _(op: RMSNorm) -> tuple[str, ...]:  # noqa: ARG001
    return ("scale",)


@singledispatch
def read(op: Op) -> str | None:  # noqa: ARG001
    """The parameter that multiplies the channels that an operator reads; None if there is none."""
    return None


@read.register(Convolution)
@read.register(Linear)
def _(op: Op) -> str:  # noqa: ARG001
    return "weight"


@read.register
def _(op: Affine) -> str:  # noqa: ARG001
    return "scale"


def scaled_channels(graph: Graph) -> list[Scaled]:
    """The channels of a resolved graph without norms that fold, which have one factor each.

    Channels of inputs and outputs of the network have none, nor have those that some operator
    moves, joins, or changes by a function that hands no factor on.
    """
    shapes = graph.shapes()
    joined: nx.utils.UnionFind[str] = nx.utils.UnionFind([_PINNED, *graph.nodes])
    axes: dict[str, int] = {}
    writers: dict[str, list[str]] = defaultdict(list)
    readers: dict[str, list[str]] = defaultdict(list)
    for address, node in graph.nodes.items():
        shape = shapes[address]
        if _hands_on(node, address, shapes, axes):
            joined.union(address, *node.inputs)
            axes[address] = axes[node.inputs[0]]
            continue
        if written(node.op) and shape:
            axes[address] = node.op.channel_axis % len(shape)
        else:
            joined.union(address, _PINNED)
        if read(node.op) is None or axes.get(node.inputs[0]) != _axis_read(node.op, shapes, node):
            joined.union(_PINNED, *node.inputs)
    joined.union(graph.output, _PINNED)
    for address, node in graph.nodes.items():
        if joined[address] != joined[_PINNED] and address in axes and written(node.op):
            writers[joined[address]].append(address)
        if node.inputs and not _hands_on(node, address, shapes, axes):
            readers[joined[node.inputs[0]]].append(address)
    return [
        Scaled(shapes[those[0]][axes[those[0]]], tuple(those), tuple(readers[root]))
        for root, those in writers.items()
        if readers[root]
    ]


def _axis_read(op: Op, shapes: Mapping[str, Shape], node: Node) -> int:
    """The axis of its input along which an operator reads channels."""
    return op.channel_axis % len(shapes[node.inputs[0]])


def _hands_on(
    node: Node, address: str, shapes: Mapping[str, Shape], axes: Mapping[str, int]
) -> bool:
    """Whether a factor of every channel of all inputs is a factor of the same channel behind."""
    if not (node.inputs and node.op.homogeneous and node.op.channelwise):
        return False
    if len({axes.get(read) for read in node.inputs}) != 1 or axes.get(node.inputs[0]) is None:
        return False
    axis, shape = axes[node.inputs[0]], shapes[address]
    given = [shapes[read] for read in node.inputs]
    if all(one == shape for one in given):
        return True
    # Channels in front stay in front, where a pooling or a view of one place changes the rest.
    return (
        len(given) == 1
        and axis == 0
        and given[0][0] == shape[0]
        and (len(shape) == len(given[0]) or math.prod(given[0]) == shape[0])
    )


def rescaled(deployed: Deployed, channels: Scaled, factors: Factors) -> Deployed:
    """`deployed` with channels divided by `factors` `(count,)` where written; its function stays.

    Weights must be floats.
    """
    for address in channels.writers:
        held, op = deployed.parameters[address], deployed.graph.nodes[address].op
        changed = {n: along_out(values(held[n]), 1 / factors) for n in written(op) if n in held}
        deployed = deployed.changed(address, **changed)
    for address in channels.readers:
        name = read(deployed.graph.nodes[address].op)
        assert name is not None
        given = values(deployed.parameters[address][name])
        deployed = deployed.changed(address, **{name: along_in(given, factors)})
    return deployed


def along_out(weight: NDArray[np.float32], factors: Factors) -> NDArray[np.float32]:
    """`weight` with its first axis multiplied by `factors`."""
    return (weight * factors.reshape(-1, *(1,) * (weight.ndim - 1))).astype(np.float32)


def along_in(weight: NDArray[np.float32], factors: Factors) -> NDArray[np.float32]:
    """`weight` with the channels that it reads multiplied by `factors`, through its groups."""
    return (
        (by_input(weight, len(factors)) * _column(factors, weight))
        .reshape(weight.shape)
        .astype(np.float32)
    )


def by_input(weight: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """A weight as `(groups, out / groups, in / groups, places)`; `count` channels are read."""
    inside = weight.shape[1] if weight.ndim > 1 else 1
    return weight.reshape(count // inside, -1, inside, math.prod(weight.shape[2:]))


def _column(factors: Factors, weight: NDArray[np.float32]) -> Factors:
    inside = weight.shape[1] if weight.ndim > 1 else 1
    return factors.reshape(-1, 1, inside, 1)


def largest_read(weight: NDArray[np.float32], count: int) -> Factors:
    """The largest size of the numbers of a weight that multiply each of `count` channels."""
    return np.abs(by_input(weight, count)).max((1, 3)).reshape(-1).astype(np.float64)


def largest_written(weight: NDArray[np.float32]) -> Factors:
    """The largest size of the numbers of each row of a weight."""
    return np.abs(weight.reshape(len(weight), -1)).max(1).astype(np.float64)
