"""The last steps of a traced graph: its outputs, nodes that nobody reads, norms left over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from search_spaces.graph import Graph, Node
from search_spaces.ops import Affine, BatchNorm2d, Outputs
from supernets.fold import without_norms
from supernets.tracing.absorb import absorbed, scaled, with_bias
from supernets.tracing.builder import Builder
from supernets.tracing.errors import TraceError
from supernets.tracing.rules.norms import affine

_NORM = ("scale", "shift", "mean", "variance")


def finished(build: Builder, outputs: Mapping[str, str]) -> tuple[Graph, dict[str, Tensor]]:
    """The graph that gives `outputs`, and the tensors of its nodes.

    Args:
        build: The graph of all calls.
        outputs: The address of each output, by name.
    """
    nodes, tensors = dict(build.graph.nodes), dict(build.tensors)
    addresses = [*outputs.values()]
    last = addresses[0]
    if len(outputs) > 1:
        last = "outputs"
        while last in nodes:
            last += "_"
        nodes[last] = Node(Outputs(names=tuple(outputs), arity=len(outputs)), tuple(addresses))
    kept = _needed(nodes, last)
    nodes = {address: node for address, node in nodes.items() if address in kept}
    nodes[last] = nodes.pop(last)
    if not nodes[last].inputs:
        raise TraceError("the model returns its input as it is; let it compute something")
    tensors = {k: t for k, t in tensors.items() if k.rpartition(".")[0] in kept}
    graph = Graph.from_nodes(nodes)
    return absorbed(*_with_affine(graph, tensors))


def _needed(nodes: Mapping[str, Node], last: str) -> set[str]:
    """The addresses that the node `last` depends on, and all inputs."""
    found, open_ = {address for address, node in nodes.items() if not node.op.arity}, [last]
    while open_:
        address = open_.pop()
        if address not in found:
            found.add(address)
            open_ += nodes[address].inputs
    return found


def _with_affine(graph: Graph, tensors: dict[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """The graph with an affine operator for each norm behind an operator that others read too."""
    readers = graph.consumers()
    nodes = dict(graph.nodes)
    for address, node in graph.nodes.items():
        if isinstance(node.op, BatchNorm2d) and len(readers[node.inputs[0]]) > 1:
            held = {name: tensors.pop(f"{address}.{name}") for name in _NORM}
            found = affine(held, node.op.epsilon)
            tensors |= {f"{address}.{name}": tensor for name, tensor in found.items()}
            nodes[address] = Node(Affine(0), node.inputs)
    return Graph.from_nodes(nodes), tensors


def folded(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """A resolved graph without the norms that fold, and the tensors of what is left.

    An operator of which the norm was the only reader gets the factor and the shift of the norm as
    part of its weight and its bias.
    """
    without, norms = without_norms(graph)
    nodes, found = dict(without.nodes), dict(tensors)
    for address, norm in norms.items():
        held = {name: found.pop(f"{norm}.{name}") for name in _NORM}
        change = affine(held, graph.nodes[norm].op.epsilon)  # pyright: ignore[reportAttributeAccessIssue]
        names = (name for name in ("weight", "bias") if f"{address}.{name}" in found)
        own = {name: found[f"{address}.{name}"] for name in names}
        found |= scaled(address, own, change["scale"], change["shift"])
        nodes[address] = replace(nodes[address], op=with_bias(nodes[address].op))
    return Graph.from_nodes(nodes), found
