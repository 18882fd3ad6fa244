"""Kernels: groups of operators that a runtime executes as one, with the shapes they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.graph import Graph
from search_spaces.ops import Op, Shape

Fusion = tuple[tuple[type[Op], ...], ...]
UNFUSED: Fusion = ()


@dataclass(frozen=True)
class Kernel:
    """One unit of execution: a resolved operator, those fused behind it, and its input shapes."""

    op: Op
    fused: tuple[Op, ...]
    inputs: tuple[Shape, ...]

    @property
    def output(self) -> Shape:
        """The shape the kernel writes."""
        shape = self.op.infer(*self.inputs)
        for op in self.fused:
            shape = op.infer(shape)
        return shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the anchor operator for one sample."""
        return self.op.macs(*self.inputs)


def fused_groups(graph: Graph, fusion: Fusion) -> dict[str, tuple[str, ...]]:
    """Anchor address -> addresses fused behind it, under the longest matching pattern.

    A pattern such as `(Conv2d, BatchNorm2d, Activation)` matches a chain in which every node is
    the only reader of the one before it and is there under the same conditions.
    """
    readers = graph.consumers()
    groups: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    for address in graph.nodes:
        if address in taken:
            continue
        matches = [_chain(graph, readers, address, pattern) for pattern in fusion]
        groups[address] = max(matches, key=len, default=())
        taken.update(groups[address])
    return groups


def _chain(
    graph: Graph, readers: dict[str, list[str]], address: str, pattern: tuple[type[Op], ...]
) -> tuple[str, ...]:
    """The addresses behind `address` that complete `pattern`, or none."""
    if not isinstance(graph.nodes[address].op, pattern[0]):
        return ()
    chain: list[str] = []
    present = graph.nodes[address].present
    for kind in pattern[1:]:
        following = readers[address]
        if len(following) != 1 or len(graph.nodes[following[0]].inputs) != 1:
            return ()
        address = following[0]
        if not isinstance(graph.nodes[address].op, kind) or graph.nodes[address].present != present:
            return ()
        chain.append(address)
    return tuple(chain)


def kernels(graph: Graph, fusion: Fusion = UNFUSED) -> Iterator[tuple[str, Kernel]]:
    """The kernels of a resolved graph in execution order, each with its anchor's address."""
    shapes = graph.shapes()
    for address, followers in fused_groups(graph, fusion).items():
        node = graph.nodes[address]
        inputs = tuple(shapes[read] for read in node.inputs)
        yield address, Kernel(node.op, tuple(graph.nodes[f].op for f in followers), inputs)
