"""Features of the paths by which data flows through a network in which operators may be cut."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import choices_in, resolve
from search_spaces.graph import Node
from search_spaces.lookups import Lookup, Lookups, tabulate
from search_spaces.ops import Op
from search_spaces.space import IntArray, SearchSpace

Reals = NDArray[np.float32]
Truths = NDArray[np.bool_]
Mark = tuple[str, int]

_PROBES = 512


class Ways:
    """Features of the paths through a network: called with `(n, choices)`, returns `(n, columns)`.

    A way is a path from the network's input to its output on which every operator's output depends
    on its input (`Op.passes`). An operator such as `none`, which always outputs zeros, cuts all
    paths through it; other operators on these paths may then have no effect on the output, which
    no single choice tells.

    A mark is a property of an operator: for a kind of choice (names that differ only in numbers)
    and a rank, the operator's choice picks an option of at least that rank. For example, rank 2 of
    kernels 3, 5, 7 marks the operators with kernel 7. The columns are, for every mark:

    - the number of marked operators that lie on some way,
    - the largest number of marked operators on one way, -1 if there is no way,
    - the smallest number of marked operators on one way, -1 if there is no way,

    and one last column, the number of ways. Together these few columns tell most of what the path
    encoding tells with many more (White et al. 2021, BANANAS, section 3).

    A space in which no operator can be cut has no columns.

    Args:
        space: The space of the genotypes.

    Attributes:
        columns: The number of columns; those that are constant or repeated are left out.
    """

    def __init__(self, space: SearchSpace) -> None:
        graph = space.graph.nodes
        self.columns = 0
        counts = {made.name: len(made.options) for made in space.choices}
        if all(passing(address, node, counts).values.all() for address, node in graph.items()):
            return
        self._nodes = [_node(address, node, counts) for address, node in graph.items()]
        self._marks = sorted({mark for node in self._nodes for mark in node.marks})
        tables = [table for node in self._nodes for table in node.tables]
        self._lookup = Lookups(tables, space.column)
        probed = self._all(space.sample_array(np.random.default_rng(0), _PROBES))
        # Columns that vary, each only once.
        _, first = np.unique(probed, axis=1, return_index=True)
        self._kept = np.sort(first[np.ptp(probed[:, first], axis=0) > 0])
        self.columns = len(self._kept)

    def __call__(self, genotypes: IntArray) -> Reals:
        """The features of canonical `genotypes` `(n, choices)`, as `(n, columns)`."""
        if not self.columns:
            return np.empty((len(genotypes), 0), dtype=np.float32)
        return self._all(genotypes)[:, self._kept]

    def _all(self, genotypes: IntArray) -> Reals:
        found = iter(self._lookup(genotypes))
        flow = _Flow(len(self._marks), len(genotypes))
        for node in self._nodes:
            there, passes = next(found), next(found)
            marks = {self._marks.index(mark): next(found) for mark in node.marks}
            flow.add(_Step(node.address, node.inputs, there, passes, marks))
        return flow.features()


@dataclass(frozen=True)
class _Node:
    """A node of the graph, with tables over the few choices that decide about it.

    Attributes:
        address: The address of the node.
        inputs: The addresses that the node reads.
        there: Whether the node is present.
        passes: Whether data passes the node.
        marks: For each mark, whether the node has it.
    """

    address: str
    inputs: Sequence[str]
    there: Lookup
    passes: Lookup
    marks: Mapping[Mark, Lookup]

    @property
    def tables(self) -> tuple[Lookup, ...]:
        return self.there, self.passes, *self.marks.values()


def passing(address: str, node: Node, counts: Mapping[str, int]) -> Lookup:
    """Whether data passes a node, over the choices that decide that; True for an absent node.

    A reader of an absent node gets the first input of that node.
    """

    def passes(picks: dict[str, int]) -> bool:
        return not _is_there(node, picks) or resolve(node.op, picks).passes

    if type(node.op).passes is Op.passes:  # no need to look at every combination of its choices
        return Lookup((), np.array(True))  # noqa: FBT003
    return tabulate(f"whether node {address!r} passes data on", counts, passes, np.bool_)


def presence(address: str, node: Node, counts: Mapping[str, int]) -> Lookup:
    """Whether a node is present, over the choices that decide that."""

    def there(picks: dict[str, int]) -> bool:
        return _is_there(node, picks)

    return tabulate(f"whether node {address!r} is there", counts, there, np.bool_)


def _is_there(node: Node, picks: Mapping[str, int]) -> bool:
    return all(resolve(condition, picks) for condition in node.present)


def _node(address: str, node: Node, counts: Mapping[str, int]) -> _Node:
    marks = {  # a closed choice stands at its first option, which is no mark
        (re.sub(r"\d+", "#", name), rank): Lookup((name,), np.arange(counts[name]) >= rank)
        for name in dict.fromkeys(made.name for made in choices_in(node.op))
        for rank in range(1, counts[name])
    }
    return _Node(
        address,
        node.inputs,
        presence(address, node, counts),
        passing(address, node, counts),
        marks,
    )


@dataclass(frozen=True)
class _Step:
    """A node of the graph, with its state in each of `n` networks.

    Attributes:
        address: The address of the node.
        inputs: The addresses that the node reads.
        there: Whether the node is present, `(n,)`.
        passes: Whether data passes the node, `(n,)`.
        marks: Number of a mark -> whether the node has the mark, `(n,)`.
    """

    address: str
    inputs: Sequence[str]
    there: Truths
    passes: Truths
    marks: Mapping[int, Truths]


@dataclass(frozen=True)
class _Arrived:
    """The paths from the network's input to the result of a node, in each of `n` networks.

    Attributes:
        ways: The number of paths on which data passes every operator, `(n,)`.
        most: The largest number of operators with each mark on such a path, `(marks, n)`; minus
            infinity if there is no path.
        fewest: The smallest number, `(marks, n)`; infinity if there is no path.
    """

    ways: Reals
    most: Reals
    fewest: Reals

    def joined(self, other: _Arrived, there: Truths) -> _Arrived:
        """These paths and those of another input of the same reader.

        The other paths count where the reader is present, `there` `(n,)`.
        """
        return _Arrived(
            self.ways + other.ways * there,
            np.where(there, np.maximum(self.most, other.most), self.most),
            np.where(there, np.minimum(self.fewest, other.fewest), self.fewest),
        )


class _Flow:
    """The computation of the features: forward along the nodes, then backward from the last.

    Args:
        marks: The number of marks.
        count: The number of networks n.
    """

    def __init__(self, marks: int, count: int) -> None:
        self._none = np.zeros((marks, count), dtype=np.float32)
        self._steps: list[_Step] = []
        self._at: dict[str, _Arrived] = {}

    def add(self, step: _Step) -> None:
        """Count the paths up to the next node; where it is absent, those of its first input."""
        if step.inputs:
            arrived = self._at[step.inputs[0]]
            for other in step.inputs[1:]:
                arrived = arrived.joined(self._at[other], step.there)
        else:
            arrived = _Arrived(np.ones(self._none.shape[1], np.float32), self._none, self._none)
        marked = self._marked(step)
        self._at[step.address] = _Arrived(
            arrived.ways * step.passes,
            np.where(step.passes, arrived.most + marked, -np.inf),
            np.where(step.passes, arrived.fewest + marked, np.inf),
        )
        self._steps.append(step)

    def _marked(self, step: _Step) -> Reals:
        marked = self._none.copy()
        for number, found in step.marks.items():
            marked[number] = found & step.there
        return marked

    def features(self) -> Reals:
        """All columns, `(n, columns)`: marked operators on ways, most, fewest, number of ways."""
        last = self._at[self._steps[-1].address]
        most, fewest = (np.where(last.ways > 0, held, -1) for held in (last.most, last.fewest))
        columns = np.concatenate([self._in_use(), most, fewest, last.ways[None]])
        return np.asarray(columns.T, dtype=np.float32)

    def _in_use(self) -> Reals:
        """The number of operators with each mark that lie on some way, `(marks, n)`."""
        total = self._none.copy()
        wanted = {step.address: np.zeros_like(step.there) for step in self._steps}
        wanted[self._steps[-1].address] |= True
        for step in reversed(self._steps):
            used = wanted[step.address] & (self._at[step.address].ways > 0)
            total += self._marked(step) * used
            for slot, read in enumerate(step.inputs):
                wanted[read] |= used & (step.there | (slot == 0))
        return total
