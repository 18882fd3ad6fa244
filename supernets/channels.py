"""Channels in the order of importance, so that narrow subnets get those that matter most.

A narrower subnet uses the first channels of every layer. Channels of one layer can be put in any
order without a change of the function, as long as all layers that write or read them agree (Cai et
al. 2020, section 3.3, where channels are sorted before narrow subnets are trained).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from search_spaces.choice import variants
from search_spaces.graph import Node
from search_spaces.ops import Shape
from search_spaces.space import SearchSpace
from supernets.supernet import Supernet, largest_parameters, without_precision

if TYPE_CHECKING:
    from networkx.utils import UnionFind

_PINNED = ""


@dataclass(frozen=True)
class Axis:
    """An axis of a shared parameter along which channels lie.

    Attributes:
        address: The address of the node.
        name: The name of the parameter.
        axis: The position of the axis.
        length: The length of the axis.
    """

    address: str
    name: str
    axis: int
    length: int


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that several layers write or read together, so that they have one order.

    Attributes:
        count: The number of channels.
        written: The axes of output channels.
        read: The axes of input channels.
    """

    count: int
    written: tuple[Axis, ...]
    read: tuple[Axis, ...]


def sorted_places(supernet: Supernet) -> dict[tuple[str, str], Tensor]:
    """The places of all numbers once channels are in descending order of importance.

    The importance of a channel is the sum of the sizes of all weights that read the channel.
    Channels of an input or an output of the network keep their places, as do those that some
    operator moves or joins, such as a concatenation or a reshape, and those of groups.

    Returns:
        (address, name of the parameter) -> for every entry of the sorted parameter, its place in
        the flattened parameter of today, in the shape of the parameter.
    """
    places: dict[tuple[str, str], Tensor] = {}
    for group in groups_of(supernet):
        order = torch.argsort(_importance(supernet, group), descending=True, stable=True)
        for axis in (*group.written, *group.read):
            tensor = supernet.node(axis.address).tensors[axis.name]
            key = axis.address, axis.name
            if key not in places:
                places[key] = torch.arange(tensor.numel(), device=tensor.device).view_as(tensor)
            run = axis.length // group.count
            along = (order[:, None] * run + torch.arange(run, device=order.device)).reshape(-1)
            places[key] = places[key].index_select(axis.axis, along)
    return places


def groups_of(supernet: Supernet) -> list[Group]:
    """The groups of channels that may change places, in the order of the graph."""
    space = without_precision(supernet.space)
    joined = _joined(space)
    written, read = defaultdict[str, list[Axis]](list), defaultdict[str, list[Axis]](list)
    for address, role, axis in _channel_axes(space):
        if role == "out":
            written[joined[address]].append(axis)
        else:
            read[joined[space.graph.nodes[address].inputs[0]]].append(axis)
    found = []
    for root in dict.fromkeys(joined[address] for address in space.graph.nodes):
        counts = {axis.length for axis in written[root]}
        if root == joined[_PINNED] or not read[root] or len(counts) != 1:
            continue
        (count,) = counts
        # A wider reader reads several features of each channel, as behind a flattened image.
        if count > 1 and all(axis.length % count == 0 for axis in read[root]):
            found.append(Group(count, tuple(written[root]), tuple(read[root])))
    return found


def _channel_axes(space: SearchSpace) -> Iterator[tuple[str, str, Axis]]:
    """The axes of parameters along which channels lie, each with its address and its role."""
    for address, parameters in largest_parameters(space).items():
        mixes = all(op.sums_all_channels for op in variants(space.graph.nodes[address].op))
        for name, parameter in parameters.items():
            for axis, role in enumerate(parameter.roles):
                if role == "out" or (role == "in" and mixes):
                    yield address, role, Axis(address, name, axis, parameter.shape[axis])


def _importance(supernet: Supernet, group: Group) -> Tensor:
    """The sum of the sizes of the weights that read each channel, `(count,)`."""
    total: Tensor | None = None
    for axis in group.read:
        weight = supernet.node(axis.address).tensors[axis.name].detach().abs()
        sizes = weight.movedim(axis.axis, 0).reshape(group.count, -1).sum(1)
        total = sizes if total is None else total + sizes
    assert total is not None
    return total


def _joined(space: SearchSpace) -> UnionFind:
    """The addresses whose output channels have one order; those joined with `_PINNED` keep it."""
    from networkx.utils import UnionFind

    shapes = space.decode(space.largest).shapes()
    joined = UnionFind([_PINNED, *space.graph.nodes])
    for address, node in space.graph.nodes.items():
        joined.union(address, *_bound(node, shapes.get(address, ())))
    joined.union(space.graph.output, _PINNED)
    return joined


def _bound(node: Node, shape: Shape) -> tuple[str, ...]:
    """The addresses, or `_PINNED`, whose channels have the order of a node's output channels."""
    ops = list(variants(node.op))
    if all(op.channelwise for op in ops):
        return node.inputs
    if not all(op.sums_all_channels for op in ops):
        return *node.inputs, _PINNED
    # A reader of an absent node gets the first input of that node.
    handed_on = node.inputs[:1] if node.present else ()
    # Features of tokens stay in place, which a flattening would put between each other.
    in_front = bool(shape) and all(op.channel_axis % len(shape) == 0 for op in ops)
    return handed_on if in_front else (*handed_on, _PINNED)
