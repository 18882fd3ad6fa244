"""Kernels: groups of operators that a runtime executes as one, with the shapes they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from search_spaces.fusion import UNFUSED, Fusion, Group, Layout, Wiring, chained
from search_spaces.graph import Graph
from search_spaces.grouping import Groups
from search_spaces.ops import Op, Shape


@dataclass(frozen=True)
class Kernel:
    """One unit of execution: one or more resolved operators that run one after the other.

    Attributes:
        op: The operator that runs first, the anchor.
        fused: The operators that run behind the anchor, in order. The result of the last operator
            is the result of the kernel.
        inputs: The shapes of the tensors that the kernel reads from outside; those that the anchor
            reads come first.
        wiring: For every operator, the anchor first, the tensor that each of its inputs reads: `i`
            is input `i` of the kernel, `len(inputs) + i` the result of operator `i`. Empty for a
            chain, in which the anchor reads every input and each other operator its predecessor.
    """

    op: Op
    fused: tuple[Op, ...]
    inputs: tuple[Shape, ...]
    wiring: Wiring = ()

    @property
    def ops(self) -> tuple[Op, ...]:
        """Every operator of the kernel, the anchor first."""
        return (self.op, *self.fused)

    @property
    def slots(self) -> Wiring:
        """The wiring of the kernel, written out for a chain too."""
        return self.wiring or chained(len(self.inputs), len(self.ops))

    def members(self) -> Iterator[tuple[Op, tuple[Shape, ...]]]:
        """Every operator of the kernel with the shapes of its inputs."""
        return zip(self.ops, self._reads, strict=True)

    @cached_property
    def _reads(self) -> tuple[tuple[Shape, ...], ...]:
        """The shapes of every operator's inputs; every cost of every device asks for them."""
        shapes, reads = list(self.inputs), list[tuple[Shape, ...]]()
        for op, slots in zip(self.ops, self.slots, strict=True):
            reads.append(tuple(shapes[slot] for slot in slots))
            shapes.append(op.infer(*reads[-1]))
        return tuple(reads)

    @cached_property
    def output(self) -> Shape:
        """The shape of the kernel's result, without the batch."""
        return self.ops[-1].infer(*self._reads[-1])

    @property
    def runs(self) -> bool:
        """Whether a device runs anything; False for inputs with their preparation and for views."""
        return bool(self.inputs) and any(
            op.runs and not op.is_identity(*reads) for op, reads in self.members()
        )

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the kernel for one sample."""
        return sum(op.macs(*reads) for op, reads in self.members())


def groups(graph: Graph, fusion: Fusion = UNFUSED) -> Iterator[Group]:
    """The groups of nodes of a resolved graph that run as one kernel, in execution order.

    A group stands at the position of its last member. The longest chain that matches is taken;
    among chains that overlap, the one that begins first.

    Raises:
        ValueError: If a region reads more than one tensor or is read at more than one node.
    """
    found = Groups(Layout(graph, fusion), {})
    for address in graph.nodes:
        group = found.ending_at(address)
        if group is not None:
            yield group


def kernels(graph: Graph, fusion: Fusion = UNFUSED) -> Iterator[tuple[str, Kernel]]:
    """The kernels of a resolved graph in execution order, each with the address of its result.

    Raises:
        ValueError: If a region reads more than one tensor or is read at more than one node.
    """
    shapes = graph.shapes()
    for group in groups(graph, fusion):
        anchor, *behind = (graph.nodes[member].op for member in group.members)
        inputs = tuple(shapes[read] for read in group.reads)
        yield group.members[-1], Kernel(anchor, tuple(behind), inputs, group.wiring)


__all__ = ["UNFUSED", "Fusion", "Group", "Kernel", "groups", "kernels"]
