"""Kernels: groups of operators that a runtime executes as one, with the shapes they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.fusion import UNFUSED, Fusion, Group, Groups, Layout, Wiring, chained
from search_spaces.graph import Graph
from search_spaces.ops import Op, Shape


@dataclass(frozen=True)
class Kernel:
    """One unit of execution: a small straight-line program of resolved operators.

    Attributes:
        op: The anchor, which runs first.
        fused: The operators that run behind it, in order; the last one's result is the kernel's.
        inputs: The shapes of the tensors read from outside; the anchor reads the first of them.
        wiring: For every operator, the anchor first, what each of its slots reads: `i` is input
            `i`, and `len(inputs) + i` the result of operator `i`. Empty for a chain: the anchor
            reads every input, each other operator the one before it.
    """

    op: Op
    fused: tuple[Op, ...]
    inputs: tuple[Shape, ...]
    wiring: Wiring = ()

    @property
    def ops(self) -> tuple[Op, ...]:
        """Every operator, the anchor first."""
        return (self.op, *self.fused)

    @property
    def slots(self) -> Wiring:
        """`wiring`, written out for chains too."""
        return self.wiring or chained(len(self.inputs), len(self.ops))

    def members(self) -> Iterator[tuple[Op, tuple[Shape, ...]]]:
        """Every operator with the shapes that it reads."""
        shapes = list(self.inputs)
        for op, slots in zip(self.ops, self.slots, strict=True):
            reads = tuple(shapes[slot] for slot in slots)
            yield op, reads
            shapes.append(op.infer(*reads))

    @property
    def output(self) -> Shape:
        """The shape the kernel writes."""
        *_, (op, reads) = self.members()
        return op.infer(*reads)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return sum(op.macs(*reads) for op, reads in self.members())


def groups(graph: Graph, fusion: Fusion = UNFUSED) -> Iterator[Group]:
    """The nodes of a resolved graph as they run together, in execution order.

    A group runs at the position of its last member. The longest chain that matches is taken, and
    among overlapping ones that which begins first.

    Raises:
        ValueError: If a region reads more than one tensor or is read at more than one node.
    """
    found = Groups(Layout(graph, fusion), {})
    for address in graph.nodes:
        group = found.ending_at(address)
        if group is not None:
            yield group


def kernels(graph: Graph, fusion: Fusion = UNFUSED) -> Iterator[tuple[str, Kernel]]:
    """The kernels of a resolved graph in execution order, by the address of their result."""
    shapes = graph.shapes()
    for group in groups(graph, fusion):
        anchor, *behind = (graph.nodes[member].op for member in group.members)
        inputs = tuple(shapes[read] for read in group.reads)
        yield group.members[-1], Kernel(anchor, tuple(behind), inputs, group.wiring)


__all__ = ["UNFUSED", "Fusion", "Group", "Kernel", "groups", "kernels"]
