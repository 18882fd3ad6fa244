"""The graph of operator specs: the one description of a network that every other part reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search_spaces.choice import Choice, choices_in, is_open, resolve, variants
from search_spaces.names import require_address
from search_spaces.ops import Input, Op, Outputs, Shape

if TYPE_CHECKING:
    import networkx as nx

OUTPUT = "output"
"""The name of the output of a network that has only one."""

MOST_NODES = 10_000
"""The number of nodes of the largest graph: ten times a network of a thousand layers."""


@dataclass(frozen=True)
class Node:
    """An operator in a graph, with its inputs and the conditions under which it is present.

    Attributes:
        op: The operator; its fields may hold placeholders.
        inputs: The addresses whose results the operator reads.
        present: Conditions that must all be true for the node to be present. They are checked from
            left to right: a choice in a later condition is open only where the earlier ones hold.
            A reader of an absent node gets the first input of the absent node instead.
    """

    op: Op
    inputs: tuple[str, ...] = ()
    present: tuple[bool, ...] = ()


class Graph:
    """The operators of a network or of a whole space, by address, in topological order.

    The last node is the output. `search_spaces.names` says what an address may be.

    Args:
        inputs: The inputs of the network. A single one gets the address `input`; several get their
            names as addresses. Further ones can be added later.

    Attributes:
        nodes: Address -> node.
    """

    def __init__(self, *inputs: Input) -> None:
        self.nodes: dict[str, Node] = {}
        for op in inputs:
            self.append(op.name if len(inputs) > 1 else "input", Node(op))

    @classmethod
    def from_nodes(cls, nodes: Mapping[str, Node]) -> Graph:
        """The graph of `nodes`, in their order and unchanged."""
        graph = cls.__new__(cls)
        graph.nodes = dict(nodes)
        for address in graph.nodes:
            require_address(address)
        return graph

    @property
    def inputs(self) -> dict[str, Input]:
        """The inputs of the network, by address."""
        found = ((address, node.op) for address, node in self.nodes.items())
        return {address: op for address, op in found if isinstance(op, Input)}

    @property
    def output(self) -> str:
        """The address of the last node."""
        return next(reversed(self.nodes))

    @property
    def results(self) -> dict[str, str]:
        """The address of every output of the network, by name; a single one is called `output`."""
        last = self.nodes[self.output]
        if isinstance(last.op, Outputs):
            return dict(zip(last.op.names, last.inputs, strict=True))
        return {OUTPUT: self.output}

    def add(self, name: str, op: Op, *inputs: str, present: bool | tuple[bool, ...] = True) -> str:
        """Append a node and return its address.

        Args:
            name: The address of the new node.
            op: The operator; its fields may hold placeholders.
            inputs: The addresses that the operator reads; the node added last where left out.
            present: The condition, or conditions, under which the node is present.

        Raises:
            InvalidName: If the address is refused by `search_spaces.names`.
            ValueError: If an input is not in the graph, the address is taken, or the operator reads
                another number of inputs or another type of numbers.
        """
        conditions = present if isinstance(present, tuple) else (present,)
        needed = tuple(condition for condition in conditions if condition is not True)
        read = inputs if inputs or not op.arity else (self.output,)
        self.append(name, Node(op, read, needed))
        return name

    def append(self, address: str, node: Node) -> None:
        """Append `node` unchanged; raises `ValueError` where `node` does not fit the graph."""
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
        if node.op.arity:
            self._require_types(address, node)
        else:
            self._require_input(address, node)
        self.nodes[address] = node

    def _require_input(self, address: str, node: Node) -> None:
        """Raise `ValueError` for a node that reads nothing and is no input that may be added."""
        op = node.op
        if not isinstance(op, Input):
            raise ValueError(
                f"{type(op).__name__} at {address!r} reads nothing; only Input does, which stands "
                "for an input of the network"
            )
        if node.present or op.name in {known.name for known in self.inputs.values()}:
            raise ValueError(
                f"input {op.name!r} at {address!r} is conditional, or is already in the graph; "
                "an input is there once and always: let all its readers read one node"
            )

    def _require_types(self, address: str, node: Node) -> None:
        """Raise `ValueError` where an operator reads numbers of the wrong type, or odd tokens."""
        op, kind = node.op, type(node.op).__name__
        for read in node.inputs:
            given = self.nodes[read].op
            source = given if isinstance(given, Input) else None
            found = "float32" if source is None else source.dtype
            if op.reads != found:
                raise ValueError(
                    f"{kind} at {address!r} reads {op.reads}, but {read!r} gives {found}; tokens "
                    "are read by an Embedding, and by no operator that quantizes"
                )
            if found != "float32" and node.present:
                raise ValueError(
                    f"{kind} at {address!r} is conditional, and where it is absent its readers "
                    f"would get {found}; let it always be present"
                )
            if source and isinstance(op.entries, int) and (source.values or 0) > op.entries:
                raise ValueError(
                    f"{kind} at {address!r} has {op.entries} entries, but input {source.name!r} "
                    f"has {source.values} different tokens; give as many entries"
                )

    def choices(self) -> Iterator[Choice[Any]]:
        """Every choice in the order in which nodes use them; a shared choice comes repeatedly."""
        for node in self.nodes.values():
            yield from choices_in(node.present)
            yield from choices_in(node.op)

    def resolve(self, picks: Mapping[str, int]) -> Graph:
        """The graph of one network: all placeholders are replaced and absent nodes are removed.

        A reader of an absent node reads the first input of the absent node instead.

        Args:
            picks: Choice name -> option index.

        Raises:
            ValueError: If the output node is absent.
        """
        return self.rewritten(lambda value: resolve(value, picks))

    def rewritten(self, change: Callable[[Any], Any]) -> Graph:
        """The graph with `change` applied to every operator and every condition.

        A condition that has become true is dropped. A node whose conditions can no longer all be
        true is removed, and its readers read its first input instead.

        Raises:
            ValueError: If the output node is removed.
        """
        source: dict[str, str] = {}
        nodes: dict[str, Node] = {}
        for address, node in self.nodes.items():
            inputs = tuple(source[read] for read in node.inputs)
            conditions = [c for c in map(change, node.present) if is_open(c) or not c]
            present = can_hold(tuple(conditions))
            source[address] = address if present else inputs[0]
            if present:
                nodes[address] = Node(change(node.op), inputs, tuple(conditions))
        if source[self.output] != self.output:
            raise ValueError(f"the output node {self.output!r} must always be present")
        return Graph.from_nodes(nodes)

    def shapes(self) -> dict[str, Shape]:
        """The output shape of every node of a resolved graph, by address, without the batch.

        Raises:
            ValueError: If a node still holds a placeholder, or an operator does not fit its inputs.
        """
        shapes: dict[str, Shape] = {}
        for address, node in self.nodes.items():
            if node.present or is_open(node.op):
                raise ValueError(f"node {address!r} still holds a choice; resolve the graph first")
            shapes[address] = inferred(address, node.op, *(shapes[read] for read in node.inputs))
        return shapes

    def consumers(self) -> dict[str, list[str]]:
        """The readers of every node: address -> addresses that read it, once per input."""
        readers: dict[str, list[str]] = {address: [] for address in self.nodes}
        for address, node in self.nodes.items():
            for read in node.inputs:
                readers[read].append(address)
        return readers

    def digraph(self) -> nx.DiGraph[str]:
        """The graph as a networkx graph.

        A node has the attribute `op`, an edge the attribute `slot`: which input of its reader it
        is.
        """
        import networkx as nx

        view: nx.DiGraph[str] = nx.DiGraph()
        for address, node in self.nodes.items():
            view.add_node(address, op=node.op)
            for slot, read in enumerate(node.inputs):
                view.add_edge(read, address, slot=slot)
        return view

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and list(self.nodes.items()) == list(other.nodes.items())

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # mutable while it is built


def can_hold(conditions: tuple[Any, ...]) -> bool:
    """Whether some picks of the choices in `conditions` make all of the conditions true."""
    return not conditions or any(map(all, variants(conditions)))


def inferred(address: str, op: Op, *inputs: Shape) -> Shape:
    """The output shape of the resolved `op` at `address`; a `ValueError` names the address.

    Raises:
        ValueError: If the operator cannot read the inputs, or its weight does not fall into blocks.
    """
    try:
        shape = op.infer(*inputs)
        if op.weight is not None:
            op.weight.granularity.blocks(op.weight_shape(*inputs) or ())
        return shape
    except ValueError as error:
        raise ValueError(f"node {address!r}: {error}") from error
