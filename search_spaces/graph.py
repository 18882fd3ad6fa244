"""The graph of operator specs: the one description that every other part reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx

from search_spaces.choice import Choice, choices_in, is_open, resolve
from search_spaces.names import require_address
from search_spaces.ops import Op, Shape

MOST_NODES = 10_000
"""Nodes of the largest graph: ten times a network of a thousand layers."""


@dataclass(frozen=True)
class Node:
    """An operator with the addresses it reads and the conditions under which it is there.

    `present` is a conjunction, met from left to right: a choice in a later condition is open only
    where the earlier ones hold. An absent node hands on its first input.
    """

    op: Op
    inputs: tuple[str, ...] = ()
    present: tuple[bool, ...] = ()


class Graph:
    """Nodes by address, in topological order; the last one is the output.

    `search_spaces.names` says what an address may be.

    Args:
        source: The operator that yields the network's input, stored at the address `input`.
    """

    def __init__(self, source: Op) -> None:
        self.nodes: dict[str, Node] = {"input": Node(source)}

    @classmethod
    def from_nodes(cls, nodes: Mapping[str, Node]) -> Graph:
        """A graph of `nodes` as they are, in their order."""
        graph = cls.__new__(cls)
        graph.nodes = dict(nodes)
        for address in graph.nodes:
            require_address(address)
        return graph

    @property
    def output(self) -> str:
        """The address of the last node."""
        return next(reversed(self.nodes))

    def add(self, name: str, op: Op, *inputs: str, present: bool | tuple[bool, ...] = True) -> str:
        """Append a node and return its address; without `inputs` it reads the node added last."""
        conditions = present if isinstance(present, tuple) else (present,)
        needed = tuple(condition for condition in conditions if condition is not True)
        self.append(name, Node(op, inputs or (self.output,), needed))
        return name

    def append(self, address: str, node: Node) -> None:
        """Append `node` as it is; raises `ValueError` where it does not fit the nodes there are."""
        require_address(address)
        unknown = [read for read in node.inputs if read not in self.nodes]
        if unknown:
            raise ValueError(
                f"node {address!r} reads {unknown}, which are not in the graph; add them first"
            )
        if len(self.nodes) == MOST_NODES:
            raise ValueError(
                f"the graph would have more than {MOST_NODES:,} nodes, of which {address!r} is the "
                "next; nothing plans so many, so offer smaller depths"
            )
        if address in self.nodes:
            raise ValueError(
                f"the graph already has a node {address!r}; addresses must be distinct"
            )
        if len(node.inputs) != node.op.arity:
            raise ValueError(
                f"{type(node.op).__name__} at {address!r} reads {node.op.arity} inputs, given "
                f"{len(node.inputs)}"
            )
        self.nodes[address] = node

    def choices(self) -> Iterator[Choice[Any]]:
        """Every choice, in the order in which the nodes meet them."""
        for node in self.nodes.values():
            yield from choices_in(node.present)
            yield from choices_in(node.op)

    def resolve(self, picks: Mapping[str, int]) -> Graph:
        """The graph without placeholders for `picks` (choice name -> option index).

        Absent nodes are gone and whoever read them reads what they would have handed on.
        """
        return self.rewritten(lambda value: resolve(value, picks))

    def rewritten(self, change: Callable[[Any], Any]) -> Graph:
        """The graph with `change` applied to every operator and every condition.

        A condition that then always holds is dropped; a node with one that never holds is gone, and
        whoever read it reads what it would have handed on.
        """
        source: dict[str, str] = {}
        nodes: dict[str, Node] = {}
        for address, node in self.nodes.items():
            inputs = tuple(source[read] for read in node.inputs)
            conditions = [c for c in map(change, node.present) if is_open(c) or not c]
            present = all(map(is_open, conditions))
            source[address] = address if present else inputs[0]
            if present:
                nodes[address] = Node(change(node.op), inputs, tuple(conditions))
        if source[self.output] != self.output:
            raise ValueError(f"the output node {self.output!r} must always be present")
        return Graph.from_nodes(nodes)

    def shapes(self) -> dict[str, Shape]:
        """The output shape of every node of a resolved graph."""
        shapes: dict[str, Shape] = {}
        for address, node in self.nodes.items():
            if node.present or is_open(node.op):
                raise ValueError(f"node {address!r} still holds a choice; resolve the graph first")
            shapes[address] = inferred(address, node.op, *(shapes[read] for read in node.inputs))
        return shapes

    def consumers(self) -> dict[str, list[str]]:
        """For every address, the addresses that read it."""
        readers: dict[str, list[str]] = {address: [] for address in self.nodes}
        for address, node in self.nodes.items():
            for read in node.inputs:
                readers[read].append(address)
        return readers

    def digraph(self) -> nx.DiGraph[str]:
        """The graph as networkx sees it; node attribute `op`, edge attribute `slot`."""
        view: nx.DiGraph[str] = nx.DiGraph()
        for address, node in self.nodes.items():
            view.add_node(address, op=node.op)
            for slot, read in enumerate(node.inputs):
                view.add_edge(read, address, slot=slot)
        return view

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and list(self.nodes.items()) == list(other.nodes.items())

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # mutable while it is built


def inferred(address: str, op: Op, *inputs: Shape) -> Shape:
    """The output shape of the resolved `op` at `address`; a `ValueError` names the address."""
    try:
        return op.infer(*inputs)
    except ValueError as error:
        raise ValueError(f"node {address!r}: {error}") from error
