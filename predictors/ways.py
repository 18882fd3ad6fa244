"""What lies on the ways through a network, where operators may cut them."""

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
    """Features of where data can flow: `(n, choices)` in, `(n, columns)` out.

    An operator that passes nothing on (`Op.passes`) makes idle what leads only to it, which no
    choice says by itself. A mark is an option of at least some rank, of one kind of choice (those
    whose names differ in numbers alone). For every mark: on how many operators in use it is, on how
    many along the way that has most of them and along the way that has fewest, -1 where no way
    leads through; and how many ways there are. These are few columns that tell what the path
    encoding of White et al. 2021 (BANANAS, section 3) tells in many.

    A space in which nothing can be cut has no columns.

    Args:
        space: The space the genotypes are of.
    """

    def __init__(self, space: SearchSpace) -> None:
        graph = space.graph.nodes
        self.columns = 0
        counts = {made.name: len(made.options) for made in space.choices}
        if all(_passes(address, node, counts).values.all() for address, node in graph.items()):
            return
        self._nodes = [_node(address, node, counts) for address, node in graph.items()]
        self._marks = sorted({mark for node in self._nodes for mark in node.marks})
        tables = [table for node in self._nodes for table in node.tables]
        self._lookup = Lookups(tables, space.column)
        probed = self._all(space.sample_array(np.random.default_rng(0), _PROBES))
        # Those that vary, each once.
        _, first = np.unique(probed, axis=1, return_index=True)
        self._kept = np.sort(first[np.ptp(probed[:, first], axis=0) > 0])
        self.columns = len(self._kept)

    def __call__(self, genotypes: IntArray) -> Reals:
        """The features of canonical `genotypes`."""
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
    """A node's address, inputs and, over its choices: is it there, does it pass data, its marks."""

    address: str
    inputs: Sequence[str]
    there: Lookup
    passes: Lookup
    marks: Mapping[Mark, Lookup]

    @property
    def tables(self) -> tuple[Lookup, ...]:
        return self.there, self.passes, *self.marks.values()


def _passes(address: str, node: Node, counts: Mapping[str, int]) -> Lookup:
    """Whether data gets through; an absent node hands on what it reads."""

    def passes(picks: dict[str, int]) -> bool:
        return not _is_there(node, picks) or resolve(node.op, picks).passes

    if type(node.op).passes is Op.passes:  # no need to look at every combination of its choices
        return Lookup((), np.array(True))  # noqa: FBT003
    return tabulate(f"whether node {address!r} passes data on", counts, passes, np.bool_)


def _is_there(node: Node, picks: Mapping[str, int]) -> bool:
    return all(resolve(condition, picks) for condition in node.present)


def _node(address: str, node: Node, counts: Mapping[str, int]) -> _Node:
    def there(picks: dict[str, int]) -> bool:
        return _is_there(node, picks)

    marks = {  # a closed choice stands at its first option, which is no mark
        (re.sub(r"\d+", "#", name), rank): Lookup((name,), np.arange(counts[name]) >= rank)
        for name in dict.fromkeys(made.name for made in choices_in(node.op))
        for rank in range(1, counts[name])
    }
    return _Node(
        address,
        node.inputs,
        tabulate(f"whether node {address!r} is there", counts, there, np.bool_),
        _passes(address, node, counts),
        marks,
    )


@dataclass(frozen=True)
class _Step:
    """A node in every row of a population, `(n,)` each; marks by number."""

    address: str
    inputs: Sequence[str]
    there: Truths
    passes: Truths
    marks: Mapping[int, Truths]


@dataclass(frozen=True)
class _Arrived:
    """What has come through a node: ways `(n,)`, most and fewest marks on one, `(marks, n)`."""

    ways: Reals
    most: Reals
    fewest: Reals

    def joined(self, other: _Arrived, there: Truths) -> _Arrived:
        """With what another input brings, where the node that reads both is there."""
        return _Arrived(
            self.ways + other.ways * there,
            np.where(there, np.maximum(self.most, other.most), self.most),
            np.where(there, np.minimum(self.fewest, other.fewest), self.fewest),
        )


class _Flow:
    """Goes along the nodes in order, then back from the last."""

    def __init__(self, marks: int, count: int) -> None:
        self._none = np.zeros((marks, count), dtype=np.float32)
        self._steps: list[_Step] = []
        self._at: dict[str, _Arrived] = {}

    def add(self, step: _Step) -> None:
        """The next node; where it is absent it hands on its first input."""
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
        """Marks in use, the most and the fewest on a way, the number of ways: `(n, columns)`."""
        last = self._at[self._steps[-1].address]
        most, fewest = (np.where(last.ways > 0, held, -1) for held in (last.most, last.fewest))
        columns = np.concatenate([self._in_use(), most, fewest, last.ways[None]])
        return np.asarray(columns.T, dtype=np.float32)

    def _in_use(self) -> Reals:
        """How many operators with each mark lie on a way, `(marks, n)`."""
        total = self._none.copy()
        wanted = {step.address: np.zeros_like(step.there) for step in self._steps}
        wanted[self._steps[-1].address] |= True
        for step in reversed(self._steps):
            used = wanted[step.address] & (self._at[step.address].ways > 0)
            total += self._marked(step) * used
            for slot, read in enumerate(step.inputs):
                wanted[read] |= used & (step.there | (slot == 0))
        return total
