"""Runs of channels behind concatenations: which channels a narrower network keeps of a wider one.

A tensor whose inputs were concatenated holds several runs of channels, of each of which a narrower
network keeps the first ones. `Concat.whole` tells how long the runs are in the widest network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search_spaces.graph import Graph, Node
from search_spaces.ops import Concat, Flatten, Mean, Op, Pad, Shape, Slice

Runs = tuple[tuple[int, int], ...]
"""The channels of each run that a network keeps, and those of the widest network, in order."""


def runs_of(graph: Graph) -> dict[str, Runs]:
    """The runs of channels along the first axis of each tensor that has several, by address.

    Args:
        graph: A resolved graph.
    """
    shapes, found = graph.shapes(), dict[str, Runs]()
    for address, node in graph.nodes.items():
        if isinstance(node.op, Concat) and node.op.whole is not None and node.op.axis == 0:
            found[address] = _joined(node, node.op.whole, shapes, found)
        elif (held := _handed_on(node, shapes, found)) is not None:
            kept = sum(run for run, _ in held)
            each, rest = divmod(shapes[address][0], kept)
            if not rest:
                found[address] = tuple((each * run, each * wide) for run, wide in held)
    return found


def _joined(
    node: Node, whole: Sequence[int], shapes: Mapping[str, Shape], found: Mapping[str, Runs]
) -> Runs:
    """The runs of a concatenation, of whose inputs some may be concatenations themselves."""
    return tuple(
        run
        for read, wide in zip(node.inputs, whole, strict=True)
        for run in found.get(read, ((shapes[read][0], wide),))
    )


def _handed_on(node: Node, shapes: Mapping[str, Shape], found: Mapping[str, Runs]) -> Runs | None:
    """The runs that an operator hands on from its inputs; None where it hands on none."""
    held = {found.get(read) for read in node.inputs if shapes[read][:1] != (1,)}
    if len(held) != 1 or not _keeps_order(node.op, shapes[node.inputs[0]]):
        return None
    return held.pop()


def _keeps_order(op: Op, read: Shape) -> bool:
    """Whether the channels of the first axis are behind an operator where they are before."""
    match op:
        case Flatten():
            return op.start == 0
        case Mean():
            return 0 not in op.axes
        case Slice():
            return op.axis != 0
        case Pad():
            return (op.before[0], op.behind[0]) == (0, 0)
        case _:
            return op.channelwise and op.channel_axis % len(read) == 0
