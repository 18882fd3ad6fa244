"""Kernel fusion: patterns of operators that run as one kernel, and where they occur in a graph.

A runtime rarely executes operators one by one. A convolution, the norm behind it and a ReLU are
usually one kernel, and a latency table has one entry for all three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from search_spaces.choice import Choice
from search_spaces.graph import Graph
from search_spaces.ops import Input, Op, Resize

Pattern = tuple[type[Op], ...]
Wiring = tuple[tuple[int, ...], ...]

PREPARATION: Pattern = (Input, Resize)
"""Resizing that alone reads an input: part of preparing the input, as normalisation is.

It is one kernel with the input, for which a device runs nothing: latency tables are measured on
networks whose inputs come in the right size.
"""


@dataclass(frozen=True)
class Fusion:
    """The patterns of operators that a runtime, or a latency table, treats as one kernel.

    Views (`Op.is_view`) stand in no pattern: a chain goes on across one that alone reads what is
    before it. Any other view is a kernel of its own, for which a device runs nothing.

    Attributes:
        chains: Sequences of operator classes, such as `(Conv2d, BatchNorm2d, Activation)`. Nodes
            of these classes run as one kernel if each node is the only reader of the node before
            it. The other operand of an addition in a chain is a further input of the kernel.
        regions: Globs over the beginning of addresses, such as `stage*.block*`. All nodes whose
            addresses begin alike, here those of one block, run as one kernel, whatever operators
            they have.
    """

    chains: tuple[Pattern, ...] = ()
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        views = sorted({kind.__name__ for chain in self.chains for kind in chain if kind.is_view})
        if views:
            raise ValueError(
                f"fusion patterns name {', '.join(views)}, for which a device runs nothing; leave "
                "them out: a chain goes on across them"
            )


UNFUSED = Fusion()


@dataclass(frozen=True)
class Group:
    """The nodes of one network that run as one kernel.

    Attributes:
        members: The addresses of the nodes in execution order. The result of the last member is
            the result of the kernel.
        reads: The addresses of the nodes outside the group whose results the members read; those
            that the first member reads come first.
        wiring: Which tensor each input of each member reads, as in `Kernel`; empty for a chain.
        origins: For each of `reads`, the address of the node that wrote the numbers. This is
            another address where a view stands between. Empty for a group of views, for which a
            device reads nothing.
    """

    members: tuple[str, ...]
    reads: tuple[str, ...]
    wiring: Wiring = ()
    origins: tuple[str, ...] = ()


def chained(inputs: int, members: int) -> Wiring:
    """The wiring of a chain: the first member reads every input, each other its predecessor.

    Args:
        inputs: How many tensors the chain reads from outside.
        members: How many operators the chain has.
    """
    return (tuple(range(inputs)), *((inputs + n,) for n in range(members - 1)))


def prepared(graph: Graph) -> frozenset[str]:
    """The addresses of all inputs and of nodes that only prepare an input, as in `PREPARATION`."""
    inputs, readers, (_, kind) = graph.inputs, graph.consumers(), PREPARATION
    behind = (
        address
        for address, node in graph.nodes.items()
        if isinstance(node.op, kind)
        and node.inputs[0] in inputs
        and readers[node.inputs[0]] == [address]
    )
    return frozenset({*inputs, *behind})


class Layout:
    """The part of fusion that is the same for all networks of a graph, prepared once.

    Args:
        graph: The graph, placeholders included.
        fusion: The patterns of the runtime.

    Raises:
        ValueError: If a region reads more than one tensor or is read at more than one node.
    """

    def __init__(self, graph: Graph, fusion: Fusion) -> None:
        self.graph = graph
        self.chains = (*fusion.chains, PREPARATION)
        self.readers = graph.consumers()
        self.order = {address: place for place, address in enumerate(graph.nodes)}
        self.regions = _regions(graph, fusion.regions)
        exits = [self._checked(members) for members in self.regions]
        self.region_of = {a: members for members in self.regions for a in members}
        self.views = {a for a, node in graph.nodes.items() if _may_be_view(node.op)}
        self.exits = dict(zip(self.regions, exits, strict=True))

    @cached_property
    def heads(self) -> tuple[type[Op], ...]:
        """The operator classes that can continue a chain; all other nodes are ruled out early."""
        return tuple({kind for chain in self.chains for kind in chain[1:]})

    def _checked(self, members: tuple[str, ...]) -> str:
        """The only node of a region that is read from outside.

        Raises:
            ValueError: If the region reads more than one tensor or is read at more than one node.
        """
        entries: dict[str, str] = {}
        for address in members:
            for read in self.graph.nodes[address].inputs:
                if read not in members:
                    entries.setdefault(read, address)
        if len(entries) != 1:
            culprit = [*entries.values()][-1] if entries else members[0]
            raise ValueError(
                f"the region of {members[0]!r} must read one tensor from outside, but reads "
                f"{', '.join(entries) or 'none'}, the last at node {culprit!r}; choose another glob"
            )
        exits = [
            address
            for address in members
            if address == self.graph.output or not set(members).issuperset(self.readers[address])
        ]
        if len(exits) != 1:
            raise ValueError(
                f"the region of {members[0]!r} must be read from outside at one node, but is at "
                f"{', '.join(map(repr, exits)) or 'none'}; choose another glob"
            )
        return exits[0]


def _may_be_view(op: Op) -> bool:
    """Whether an operator, or an option of a choice among operators, is a view."""
    return any(map(_may_be_view, op.options)) if isinstance(op, Choice) else op.is_view


def _regions(graph: Graph, globs: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The addresses of every region, in the order of the graph.

    A node that several globs match belongs to the region of the first of them.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    patterns = [glob.split(".") for glob in globs]
    for address in graph.nodes:
        parts = address.split(".")
        for pattern in patterns:
            prefix = tuple(parts[: len(pattern)])
            if len(prefix) == len(pattern) and all(map(fnmatchcase, prefix, pattern)):
                found.setdefault(prefix, []).append(address)
                break
    return tuple(map(tuple, found.values()))
