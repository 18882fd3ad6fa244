"""Space files of format 1, in which a `Linear` flattened whatever it read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from search_spaces.choice import resolve
from search_spaces.documents import Source
from search_spaces.graph import Graph, Node, inferred
from search_spaces.ops import Flatten, Linear, Shape


def flattening(graph: Graph, source: Source) -> Graph:
    """The networks of a `graph` of format 1, with a `Flatten` before each `Linear` of more axes.

    The node is called as its `Linear` with `.flatten` behind, and is there where that is.

    Raises:
        UnreadableFile: In the name of `source`: a network of it has no shapes, or a `Linear` is in
            neither the smallest nor the largest, so that nothing says how many axes it reads.
    """
    axes: dict[str, int] = {}
    try:
        for end in (0, -1):
            picks = {found.name: end % len(found.options) for found in graph.choices()}
            axes |= dict(_axes_read(graph, picks))
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise source.error(f"holds no networks: {error}") from error
    flat = Graph.from_nodes({})
    for address, node in graph.nodes.items():
        read = node.inputs
        if isinstance(node.op, Linear) and address not in axes:
            raise source.error(
                f"node {address!r} is in neither the smallest nor the largest network, and in "
                "format 1 it may flatten what it reads; add a Flatten before it where it does, and "
                'write "format": 2'
            )
        if axes.get(address, 1) > 1:
            flat.append(f"{address}.flatten", Node(Flatten(), read, node.present))
            read = (f"{address}.flatten",)
        flat.append(address, Node(node.op, read, node.present))
    return flat


def _axes_read(graph: Graph, picks: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """How many axes each `Linear` reads in the network of `picks`, by address."""
    shapes: dict[str, Shape] = {}
    for address, node in graph.nodes.items():
        reads = [shapes[read] for read in node.inputs]
        if not all(resolve(condition, picks) for condition in node.present):
            shapes[address] = reads[0]
            continue
        op = resolve(node.op, picks)
        if isinstance(op, Linear):
            yield address, len(reads[0])
            reads = [(math.prod(reads[0]),)]
        shapes[address] = inferred(address, op, *reads)
