"""Space files of older formats, read as files of the present one.

In format 1, a `Linear` flattened whatever it read. In formats 1 and 2, the only source was an
`Image`, which resized the given images, or an `Input` without a name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search_spaces.choice import resolve
from search_spaces.documents import Source
from search_spaces.graph import Graph, Node, inferred
from search_spaces.ops import Flatten, Linear, Shape

Json = dict[str, Any]


def source_ops(op: Json, choices: Mapping[str, Sequence[Any]]) -> tuple[Json, Json | None]:
    """The operators that stand for an operator of format 1 or 2: itself, or an input with a resize.

    An `Image` becomes an input of the largest size that it had, and a `Resize` behind the input if
    it had a choice of sizes.

    Args:
        op: The operator as the file holds it.
        choices: Choice name -> the options of the choice, as JSON.
    """
    match op:
        case {"$spec": "Input", "shape": shape, **others} if not others:
            return {"$spec": "Input", "name": "input", "shape": shape}, None
        case {"$spec": "Image", "channels": int() as channels, "size": size, **others}:
            name = size.get("$choice") if isinstance(size, dict) else None
            sizes = [size] if name is None else choices.get(str(name), [])
            if others or not sizes or not all(isinstance(side, int) for side in sizes):
                return op, None
            shape = [channels, max(sizes), max(sizes)]
            image = {"$spec": "Input", "name": "image", "shape": shape}
            return image, None if name is None else {"$spec": "Resize", "size": size}
        case _:
            return op, None


def flattening(graph: Graph, source: Source) -> Graph:
    """The `graph` of format 1 with a `Flatten` before each `Linear` that reads several axes.

    The address of a `Flatten` is that of its `Linear` with `.flatten` behind; both are present in
    the same networks.

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
    """The address of each `Linear` in the network of `picks`, with its number of axes read."""
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
