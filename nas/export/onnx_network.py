"""The nodes of a whole network in an ONNX file, and what its writing must know of its readers."""

from __future__ import annotations

from collections.abc import Mapping

from nas.export.onnx_operators import Site, is_clamp, write
from nas.export.writer import Value, Writer
from search_spaces.graph import Graph
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
    rounded = on_one_grid | _clamped_onto(graph, on_one_grid)
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
            rounded=address in rounded,
        )
        values[address] = write(node.op, site)
    return values


def _on_one_grid(deployed: Deployed, ends: Ends) -> set[str]:
    """The addresses that are read, and everywhere on one and the same grid."""
    grids: dict[str, set[object]] = {address: {scale} for address, scale in ends.items()}
    for address, node in deployed.graph.nodes.items():
        for slot, read in enumerate(node.inputs):
            grids.setdefault(read, set()).add(deployed.inputs.get((address, slot)))
    return {read for read, found in grids.items() if len(found) == 1 and None not in found}


def _clamped_onto(graph: Graph, on_one_grid: set[str]) -> set[str]:
    """The addresses that only a clamp reads, whose own readers put it on one grid."""
    readers = graph.consumers()
    clamps = ((a, node.inputs) for a, node in graph.nodes.items() if is_clamp(node.op))
    return {read for a, (read,) in clamps if a in on_one_grid and len(readers[read]) == 1}
