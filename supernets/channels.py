"""Channels in the order of importance, so that narrow subnets get those that matter most.

A narrower subnet uses the first channels of every layer. Channels of one layer can be put in any
order without a change of the function, as long as all layers that write or read them agree (Cai et
al. 2020, section 3.3, where channels are sorted before narrow subnets are trained).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from search_spaces.channel_groups import Along, Coupling
from search_spaces.coupling import coupling
from search_spaces.ops import Parameter, Shape
from search_spaces.space import SearchSpace
from supernets.largest import largest_parameters
from supernets.supernet import Supernet

Orders = Mapping[str, Tensor]
"""Names of groups -> the units of the group in their new order, `(count,)`."""


def sorted_places(supernet: Supernet) -> dict[tuple[str, str], Tensor]:
    """The places of all numbers once channels are in descending order of importance.

    The importance of a unit of channels is the sum of the sizes of all weights that read the unit.
    Which channels keep their places is said by `search_spaces.coupling`.

    Returns:
        (address, name of the parameter) -> for every entry of the sorted parameter, its place in
        the flattened parameter of today, in the shape of the parameter.
    """
    found = coupled(supernet.space)
    tensors = {
        (along.address, along.name): supernet.node(along.address).tensors[along.name].detach()
        for along in found.alongs
    }
    sizes = {name: reading_sizes(found, name, tensors) for name in found.free}
    known = {name: numbers.tolist() for name, numbers in sizes.items() if numbers is not None}
    orders = {name: torch.tensor(order) for name, order in found.orders(known).items()}
    places = {
        key: torch.arange(tensor.numel(), device=tensor.device).view_as(tensor)
        for key, tensor in tensors.items()
    }
    return moved(found, places, orders)


def coupled(space: SearchSpace) -> Coupling:
    """The coupled channels of the largest network of a space.

    Nodes whose parameters are larger in another network keep their channels.
    """
    largest = space.decode(space.largest)
    shapes, nodes = largest.shapes(), largest.nodes
    other = [
        address
        for address, parameters in largest_parameters(space).items()
        if (node := nodes.get(address))
        and _channels(parameters)
        != _channels(node.op.parameters(*(shapes[read] for read in node.inputs)))
    ]
    return coupling(space.graph, largest=largest, leave=other)


def _channels(parameters: Mapping[str, Parameter]) -> dict[str, Shape]:
    return {name: parameter.along("out", "in") for name, parameter in parameters.items()}


def reading_sizes(
    found: Coupling, group: str, tensors: Mapping[tuple[str, str], Tensor]
) -> Tensor | None:
    """The sum of the sizes of the weights that read each unit, `(count,)`; None without readers."""
    sizes = [
        rows_of_units(along, tensors[along.address, along.name].abs(), group).sum(1)
        for along in found.of(group)
        if along.reads
    ]
    return torch.stack(sizes).sum(0) if sizes else None


def rows_of_units(along: Along, tensor: Tensor, group: str) -> Tensor:
    """The numbers of a parameter that belong to each unit of a group, `(count, n)`."""
    whole = _lengthwise(along, tensor).movedim(along.axes[0], 0)
    rows, start = [], 0
    for part in along.parts:
        if part.group == group:
            run = whole[start : start + part.length]
            run = run.reshape(part.outer, part.count, part.inner, -1).movedim(1, 0)
            rows.append(run.reshape(part.count, -1))
        start += part.length
    return torch.cat(rows, dim=1)


def moved(
    found: Coupling, tensors: Mapping[tuple[str, str], Tensor], orders: Orders
) -> dict[tuple[str, str], Tensor]:
    """The tensors with the units of groups in new orders; groups without an order stay.

    Args:
        found: The coupled channels.
        tensors: The parameters by address and name.
        orders: The new orders.
    """
    changed = dict(tensors)
    for along in found.alongs:
        key = along.address, along.name
        index = _index(along, orders).to(tensors[key].device)
        flat = _lengthwise(along, changed[key])
        changed[key] = flat.index_select(along.axes[0], index).view(tensors[key].shape)
    return changed


def _lengthwise(along: Along, tensor: Tensor) -> Tensor:
    """The tensor with the axes of `along` as one axis."""
    return tensor.flatten(along.axes[0], along.axes[-1])


def _index(along: Along, orders: Orders) -> Tensor:
    """The present place of every channel along an axis, in the new order."""
    runs, start = [], 0
    for part in along.parts:
        run = start + torch.arange(part.length).reshape(part.outer, part.count, part.inner)
        if part.group is not None and part.group in orders:
            run = run[:, orders[part.group].cpu()]
        runs.append(run.reshape(-1))
        start += part.length
    return torch.cat(runs)
