"""The nodes of a whole network in an ONNX file, and what its writing must know of its readers."""

from __future__ import annotations

from collections.abc import Mapping

from nas.export.onnx_operators import Site, is_clamp, write
from nas.export.writer import Value, Writer
from supernets.deployed import Deployed
from supernets.integers import ActivationScale

Ends = Mapping[str, ActivationScale]


def write_network(
    deployed: Deployed, writer: Writer, given: Mapping[str, Value], *, ends: Ends | None = None
) -> dict[str, Value]:
    """Write every node of `deployed` and give the tensor of each by its address.

    Args:
        deployed: The network, norms folded.
        writer: Where to.
        given: The tensor that each source is fed, by the source's address.
        ends: How results that leave the file as codes are quantized, by their address.
    """
    graph, shapes, sources = deployed.graph, deployed.graph.shapes(), deployed.sources
    on_one_grid = _on_one_grid(deployed, ends or {})
    values: dict[str, Value] = {}
    for address, node in graph.nodes.items():
        site = Site(
            writer,
            address,
            tuple(values[read] for read in node.inputs) or (given[address],),
            tuple(shapes[read] for read in node.inputs) or (sources[address],),
            tuple(deployed.inputs.get((address, slot)) for slot in range(node.op.arity)),
            deployed.parameters.get(address, {}),
            one_grid=address in on_one_grid,
            rounded=address in on_one_grid,
        )
        values[address] = write(node.op, site)
    return values


def _on_one_grid(deployed: Deployed, ends: Ends) -> set[str]:
    """The addresses that are read, and everywhere on one and the same grid.

    Operators that only move numbers are looked through, since onnxruntime rounds before them
    (1.31), and so is a clamp that alone reads a result, since its reader can cut codes.
    """
    nodes, readers = deployed.graph.nodes, deployed.graph.consumers()
    grids: dict[str, set[object]] = {address: {scale} for address, scale in ends.items()}
    for address, node in reversed(nodes.items()):
        moves = node.op.keeps_values and node.op.activation is None
        for slot, read in enumerate(node.inputs):
            through = moves or (is_clamp(node.op) and len(readers[read]) == 1)
            own: set[object] = {deployed.inputs.get((address, slot))}
            grids.setdefault(read, set()).update(grids.get(address, own) if through else own)
    return {read for read, found in grids.items() if len(found) == 1 and None not in found}
