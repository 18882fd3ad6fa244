"""The parameters of a space in their largest shapes, which all networks of the space share."""

from __future__ import annotations

from dataclasses import fields, replace

from search_spaces.costs import SpaceKernels
from search_spaces.graph import Graph, Node
from search_spaces.ops import Parameter
from search_spaces.space import SearchSpace


def largest_parameters(space: SearchSpace) -> dict[str, dict[str, Parameter]]:
    """The parameters of every node in their largest shapes over the space, by address and name."""
    kernels = SpaceKernels(without_precision(space))
    found: dict[str, dict[str, Parameter]] = {address: {} for address in space.graph.nodes}
    for address, table in kernels.tables.items():
        largest = found[address]
        for number in set(table.values.flat):
            kernel = kernels.kernels[number]
            if kernel is None:
                continue
            for name, parameter in kernel.op.parameters(*kernel.inputs).items():
                known = largest[name].shape if name in largest else parameter.shape
                shape = tuple(map(max, known, parameter.shape))
                largest[name] = replace(parameter, shape=shape)
    return found


def without_precision(space: SearchSpace) -> SearchSpace:
    """The space without precisions, which multiply the options of nodes but not the shapes."""
    nodes: dict[str, Node] = {}
    for address, node in space.graph.nodes.items():
        held = {field.name for field in fields(node.op)} & {"weight", "activation"}
        nodes[address] = Node(replace(node.op, **dict.fromkeys(held)), node.inputs, node.present)
    return SearchSpace(Graph.from_nodes(nodes), name=space.name)
