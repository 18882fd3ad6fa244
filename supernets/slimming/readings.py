"""Where the channels of a group arrive: the layers that read them, in a network without norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from search_spaces.channel_groups import Along, Coupling
from supernets.assemble import ADDRESS
from supernets.channels import rows_of_units
from supernets.deployed import Deployed, values
from supernets.post_training.reference import Reference

Importance = Callable[[Reference, Coupling], Mapping[str, Tensor]]
"""A score: the importance of every unit of the free groups, `(count,)`, by the name of the group.

The reference is the trained network, its norms folded, with batches of inputs, which need no
labels. More important units have larger numbers. A group is left out if the score says nothing
about it. Numbers of different groups are comparable only where a score says so.
"""


@dataclass(frozen=True)
class Reading:
    """A layer that sums over the channels of a group.

    Attributes:
        address: The address of the layer.
        source: The address of the tensor that the layer reads.
        along: The channels along the weight of the layer.
        axis: The axis of the tensor, the batch included, along which the channels lie.
    """

    address: str
    source: str
    along: Along
    axis: int

    def units_of_weight(self, network: Deployed, group: str) -> Tensor:
        """The weights that read each unit, `(count, n)`."""
        weight = weight_of(network, self.address)
        return rows_of_units(replace(self.along, axes=(1,)), weight, group)

    def without(self, tensor: Tensor, group: str, unit: int) -> Tensor:
        """The tensor at `source` with a unit set to zero."""
        places = torch.arange(tensor.shape[self.axis])[:, None]
        gone = rows_of_units(replace(self.along, axes=(0,)), places, group)[unit]
        return tensor.index_fill(self.axis, gone, 0.0)

    def summed(self, tensor: Tensor, group: str) -> Tensor:
        """The sum of the numbers of each unit in a tensor at `source`, `(samples, count)`."""
        along = replace(self.along, axes=(0,))
        units = rows_of_units(along, tensor.movedim(self.axis, 0), group)
        rest = tensor[0].numel() // tensor.shape[self.axis]
        return units.unflatten(1, (-1, len(tensor), rest)).sum((1, 3)).mT


def readings(network: Deployed, found: Coupling) -> dict[str, list[Reading]]:
    """The layers that read the channels of each free group; groups that none reads are left out."""
    shapes = network.graph.shapes()
    held: dict[str, list[Reading]] = {}
    for name in found.free:
        for along in found.of(name):
            node = network.graph.nodes.get(along.address)
            if node is not None and along.reads and along.name == "weight":
                axis = node.op.channel_axis % len(shapes[node.inputs[0]]) + 1
                held.setdefault(name, []).append(
                    Reading(along.address, node.inputs[0], along, axis)
                )
    return held


def by_source(found: list[Reading]) -> dict[str, Reading]:
    """One of the layers that read each tensor, by the address of the tensor."""
    return {reading.source: reading for reading in found}


def weight_of(network: Deployed, address: str) -> Tensor:
    """The weight of a layer, output channels first."""
    return torch.from_numpy(values(network.parameters[address]["weight"]))


class Changing(fx.Interpreter):
    """A run of an assembled module in which a function may change the outputs of operators.

    Args:
        module: The module, as `supernets.assemble.assemble` makes it.
        change: A function of an address, the inputs of the operator there, and its output; gives
            the output that others read.
    """

    def __init__(
        self, module: fx.GraphModule, change: Callable[[str, list[Tensor], Tensor], Tensor]
    ) -> None:
        super().__init__(module)
        self._change = change

    def run_node(self, n: fx.Node) -> object:
        """The result of a node, changed if the node is the output of an operator."""
        output = super().run_node(n)
        address = n.meta.get(ADDRESS)
        if address is None or n.op == "placeholder":
            return output
        assert isinstance(output, Tensor)
        read = [self.env[node] for node in n.all_input_nodes]
        return self._change(address, [t for t in read if isinstance(t, Tensor)], output)
