"""Writing all nodes of a network to an ONNX file, with facts about the readers of each result."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nas.export.onnx_operators import Site, is_clamp, prepare, write
from nas.export.writer import Value, Writer
from supernets.deployed import Deployed
from supernets.encoded import ActivationScale

Ends = Mapping[str, ActivationScale]


def write_network(
    deployed: Deployed, writer: Writer, given: Mapping[str, Value], *, ends: Ends | None = None
) -> dict[str, Value]:
    """Write every node of `deployed`; returns the tensors of all nodes by address.

    Args:
        deployed: The network, norms folded.
        writer: The writer that gets the nodes.
        given: The tensor of each input of the network, by the address of the input.
        ends: The quantization of results that leave the file as codes, by address.
    """
    graph, shapes = deployed.graph, deployed.graph.shapes()
    reads = {a: tuple(shapes[read] for read in node.inputs) for a, node in graph.nodes.items()}
    prepare((node.op, reads[address]) for address, node in graph.nodes.items())
    on_one_grid = _on_one_grid(deployed, ends or {})
    rounded = _read_rounded(deployed) & on_one_grid
    values = dict(given)
    for address, node in graph.nodes.items():
        if address in values:
            continue
        site = Site(
            writer,
            address,
            tuple(values[read] for read in node.inputs),
            reads[address],
            _scales(deployed, address, rounded),
            deployed.parameters.get(address, {}),
            one_grid=address in on_one_grid,
            rounded=address in on_one_grid,
        )
        values[address] = write(node.op, site)
    return values


def _read_rounded(deployed: Deployed) -> set[str]:
    """The addresses of results that some operator rounds as they are, before no other operator."""
    nodes = deployed.graph.nodes
    return {nodes[address].inputs[slot] for address, slot in deployed.inputs}


def _scales(
    deployed: Deployed, address: str, rounded: Collection[str]
) -> tuple[ActivationScale | None, ...]:
    """The quantization of each input of a node.

    An operator that only moves numbers reads the codes that another reader of the tensor makes, if
    all readers have one grid: read in floats, the tensor would be computed in floats.

    Args:
        deployed: The network.
        address: The address of the node.
        rounded: The results on one grid that some operator rounds as they are.
    """
    node = deployed.graph.nodes[address]
    if node.op.only_moves and not node.op.is_view and node.inputs[0] in rounded:
        [grid] = {
            scale
            for (reader, slot), scale in deployed.inputs.items()
            if deployed.graph.nodes[reader].inputs[slot] == node.inputs[0]
        }
        return (grid,)
    return tuple(deployed.inputs.get((address, slot)) for slot in range(node.op.arity))


def _on_one_grid(deployed: Deployed, ends: Ends) -> set[str]:
    """The addresses of results whose readers all quantize them with the same scale.

    If a reader only moves numbers, its own readers count instead, since onnxruntime (1.31) rounds
    before such an operator. The same holds for a clamp that is the only reader of a result, since
    the readers of the clamp can clamp the codes.
    """
    nodes, readers = deployed.graph.nodes, deployed.graph.consumers()
    grids: dict[str, set[object]] = {address: {scale} for address, scale in ends.items()}
    for address, node in reversed(nodes.items()):
        for slot, read in enumerate(node.inputs):
            through = node.op.only_moves or (is_clamp(node.op) and len(readers[read]) == 1)
            own: set[object] = {deployed.inputs.get((address, slot))}
            grids.setdefault(read, set()).update(grids.get(address, own) if through else own)
    return {read for read, found in grids.items() if len(found) == 1 and None not in found}
