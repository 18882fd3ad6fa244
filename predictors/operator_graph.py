"""The graph of operators of each of many networks: what an operator is, reads, and is read by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.ways import passing, presence
from search_spaces.choice import Choice, rebuild
from search_spaces.lookups import Lookups
from search_spaces.ops import Op
from search_spaces.space import IntArray, SearchSpace

Truths = NDArray[np.bool_]


class OperatorGraph:
    """The operator graphs of networks: called with `(n, choices)`, returns `Wired`.

    The vertices of an operator graph are the operators on some path along which data flows from
    the network's input to its output (`Op.passes`). Sums are no vertices: what reads a sum reads
    all of its terms, so that the order of terms does not matter. What cannot reach the output is
    left out. Two networks that differ in such respects only have the same operator graph.

    A vertex is described by traits: the form of its operator, which is the operator without its
    picks, and each pick among the options of this form. Operators of equal form have equal
    options, whatever their choices are called.

    Args:
        space: The space of the genotypes.

    Attributes:
        inputs: The numbers of the nodes that each node of the space reads.
        traits: The number of different traits.
    """

    def __init__(self, space: SearchSpace) -> None:
        graph = space.graph.nodes
        counts = {made.name: len(made.options) for made in space.choices}
        place = {address: number for number, address in enumerate(graph)}
        self.inputs = [tuple(place[read] for read in node.inputs) for node in graph.values()]
        self._sums = np.array([node.op.sums for node in graph.values()])
        tables = [presence(address, node, counts) for address, node in graph.items()]
        tables += [passing(address, node, counts) for address, node in graph.items()]
        self._lookup = Lookups(tables, space.column)
        self._numbered(space, counts)

    def _numbered(self, space: SearchSpace, counts: Mapping[str, int]) -> None:
        """Number the traits: for each form, one of its own and one per option of each pick."""
        made = [_form(node.op) for node in space.graph.nodes.values()]
        sizes = {form: [1, *(counts[name] for name in names)] for form, names in made}
        self.traits = 0
        first: dict[str, list[int]] = {}
        for form, each in sizes.items():
            first[form] = (self.traits + np.cumsum([0, *each[:-1]])).tolist()
            self.traits += sum(each)
        most = max(map(len, first.values()))
        self._first = np.full((most, len(made)), -1)
        self._column = np.full((most, len(made)), -1)
        for node, (form, names) in enumerate(made):
            self._first[: len(first[form]), node] = first[form]
            self._column[1 : 1 + len(names), node] = [space.column[name] for name in names]

    def __call__(self, genotypes: IntArray) -> Wired:
        """The operator graphs of canonical `genotypes` `(n, choices)`."""
        there, passes = np.split(self._lookup(genotypes), 2)
        used = self._used(there, passes)
        vertex = there & used & ~self._sums[:, None]
        # The last column stands for traits that are no picks.
        picks = np.column_stack([genotypes, np.zeros(len(genotypes), np.int64)]).T
        traits = self._first[:, :, None] + picks[self._column]
        absent = ~vertex | (self._first[:, :, None] < 0)
        traits[absent] = -1
        return Wired(self.inputs, there, used, vertex, traits)

    def _used(self, there: Truths, passes: Truths) -> Truths:
        """Whether data flows through each node to the output, `(nodes, n)`."""
        reached, wanted = np.ones_like(there), np.zeros_like(there)
        for node, inputs in enumerate(self.inputs):
            if inputs:
                any_input = np.logical_or.reduce(reached[list(inputs)])
                through = passes[node] & any_input
                reached[node] = np.where(there[node], through, reached[inputs[0]])
        wanted[-1] = True
        for node in reversed(range(len(there))):
            wanted[node] &= reached[node]
            for slot, read in enumerate(self.inputs[node]):
                wanted[read] |= wanted[node] & (there[node] | (slot == 0))
        return wanted


def _form(op: Op) -> tuple[str, list[str]]:
    """The text of an operator with its choices numbered, and their names."""
    names: list[str] = []

    def numbered(value: Any) -> Any:
        if isinstance(value, Choice):
            if value.name not in names:
                names.append(value.name)
            number = names.index(value.name)
            return Choice(f"choice{number}", tuple(map(numbered, value.options)))
        return rebuild(value, numbered)

    return repr(numbered(op)), names


@dataclass(frozen=True, eq=False)
class Wired:
    """The operator graphs of `n` networks of a space.

    Attributes:
        inputs: The numbers of the nodes that each node of the space reads.
        there: Whether a node is present, `(nodes, n)`.
        used: Whether data flows through a node to the output, `(nodes, n)`.
        vertex: Whether a node is a vertex, `(nodes, n)`.
        traits: The numbers of the traits of each vertex, -1 for none: `(traits, nodes, n)`.
    """

    inputs: Sequence[Sequence[int]]
    there: Truths
    used: Truths
    vertex: Truths
    traits: IntArray

    def from_inputs(self, messages: NDArray[Any]) -> NDArray[Any]:
        """The sum of the messages of those that a vertex reads; both `(nodes, n, ...)`."""
        given = np.zeros_like(messages)
        arrived = np.zeros_like(messages)
        for node, inputs in enumerate(self.inputs):
            there, vertex, used = self._masks(node, messages.ndim)
            for slot, read in enumerate(inputs):
                arrived[node] += given[read] * (there | (slot == 0))
            given[node] = np.where(vertex, messages[node], arrived[node] * used)
        return arrived

    def from_readers(self, messages: NDArray[Any]) -> NDArray[Any]:
        """The sum of the messages of those that read a vertex; both `(nodes, n, ...)`."""
        arrived = np.zeros_like(messages)
        for node in reversed(range(len(self.inputs))):
            there, vertex, used = self._masks(node, messages.ndim)
            sent = np.where(vertex, messages[node], arrived[node] * used)
            for slot, read in enumerate(self.inputs[node]):
                arrived[read] += sent * (there | (slot == 0))
        return arrived

    def _masks(self, node: int, axes: int) -> tuple[Truths, Truths, Truths]:
        shape = (-1, *(1,) * (axes - 2))
        there, vertex, used = (each[node] for each in (self.there, self.vertex, self.used))
        return there.reshape(shape), vertex.reshape(shape), used.reshape(shape)
