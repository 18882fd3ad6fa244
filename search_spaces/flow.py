"""Costs that depend on which kernel reads which tensor, for a whole population at once.

Peak memory, the longest path and conversions between formats are no sums over kernels. Kernels
run in the order of the graph. Every tensor that a kernel of some network reads from another kernel
is an edge between two fixed addresses, and a small table says which networks have that edge. A
cost is then a few vector operations per edge, with no Python code that runs once per network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.costs import FloatArray, SpaceKernels
from search_spaces.lookups import Lookup
from search_spaces.space import IntArray, SearchSpace

BoolArray = NDArray[np.bool_]
_CHUNK = 1 << 12  # genotypes; arrays with one row per address then stay within the cache


@dataclass(frozen=True, eq=False)
class FlowEdge:
    """A tensor that one kernel writes and another reads.

    Attributes:
        source: The position, in execution order, of the address whose result the tensor is.
        reader: The position of the address that reads the tensor.
        slot: Which input of the reader the tensor is, from 0.
        there: Whether a network has the edge, over the choices that decide that.
    """

    source: int
    reader: int
    slot: int
    there: Lookup


class Flow:
    """The addresses of a space at which kernels end, and all edges between these addresses.

    Attributes:
        kernels: The kernels of the space.
        addresses: The addresses at which a kernel of some network ends, in execution order.
        edges: Every edge that some network has, in the order of the readers.
    """

    def __init__(self, kernels: SpaceKernels) -> None:
        self.kernels = kernels
        self.addresses = tuple(kernels.tables)
        place = {address: number for number, address in enumerate(self.addresses)}
        self.edges = tuple(
            FlowEdge(place[source], place[reader], slot, there)
            for reader in self.addresses
            for slot, source, there in self._read_by(reader)
        )

    def tables(self, by_kernel: NDArray[np.generic]) -> list[Lookup]:
        """For every address, the entry of `by_kernel` for the kernel that ends there.

        Args:
            by_kernel: `(kernels,)`, by kernel number; entry 0 is for networks without a kernel.
        """
        return [
            Lookup(table.choices, by_kernel[table.values]).minimal()
            for table in self.kernels.tables.values()
        ]

    def _read_by(self, reader: str) -> Iterator[tuple[int, str, Lookup]]:
        grouping = self.kernels.grouping[reader]
        reads = defaultdict[tuple[int, str], list[int]](list)
        for number in np.unique(grouping.values).tolist():
            group = self.kernels.groups[number]
            for slot, source in enumerate(group.origins if group is not None else ()):
                reads[slot, source].append(number)
        for (slot, source), numbers in reads.items():
            there = np.isin(grouping.values, numbers)
            yield slot, source, Lookup(grouping.choices, there).minimal()


@dataclass(frozen=True, eq=False)
class Tensors:
    """The tensors that kernels write, by kernel number; number 0 is no kernel and holds zeros.

    Attributes:
        elements: Elements per sample, `(kernels,)`.
        bits: Bits per element, `(kernels,)`. They are 0 for a tensor without a format of its own,
            such as an input of the network: each reader may have the input in its own format.
        formats: A number per format, from 1, and 0 where there is none, `(kernels,)`. Formats of
            as many bits may differ.
    """

    elements: FloatArray
    bits: FloatArray
    formats: FloatArray


class Rows:
    """A chunk of genotypes, `(n, choices)`, for which entries of tables are looked up."""

    def __init__(self, genotypes: IntArray, space: SearchSpace) -> None:
        self.count = len(genotypes)
        self._genotypes = np.asfortranarray(genotypes)
        self._space = space
        self._known: dict[tuple[str, ...], NDArray[np.intp]] = {}

    def of(self, table: Lookup) -> NDArray[Any]:
        """The entry of `table` for every genotype, `(n,)`.

        Where to look is computed once for all tables over the same choices.
        """
        if table.choices not in self._known:
            index = table.index(self._genotypes, self._space.column)
            self._known[table.choices] = index
        return table.values.ravel().take(self._known[table.choices])


@dataclass(frozen=True, eq=False)
class FlowCost:
    """A cost of every genotype of a space: called with `(n, choices)`, returns `(n,)`.

    Attributes:
        space: The space.
        of: Computes the cost of every genotype of a chunk, `(n,)`.
    """

    space: SearchSpace
    of: Callable[[Rows], FloatArray]

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The cost of every row of `genotypes` `(n, choices)`, as `(n,)`."""
        result = np.empty(len(genotypes))
        for start in range(0, len(genotypes), _CHUNK):
            rows = Rows(genotypes[start : start + _CHUNK], self.space)
            result[start : start + _CHUNK] = self.of(rows)
        return result


class PeakActivation:
    """The largest number of bytes that the tensors in memory take at one time, `(n,)`.

    A tensor is in memory from the kernel that writes it to the last kernel that reads it; the
    inputs and the output of a running kernel are both in memory. A tensor without a format of its
    own is held in the widest format that one of its readers needs.
    """

    def __init__(self, flow: Flow, tensors: Tensors) -> None:
        self._bits = flow.tables(tensors.bits)
        self._elements = flow.tables(tensors.elements)
        self._bytes = flow.tables(np.ceil(tensors.elements * tensors.bits / 8))
        self._free = [bool((t.values == 0).all()) for t in self._bits]
        self._read = defaultdict[int, list[FlowEdge]](list)
        for edge in flow.edges:
            self._read[edge.source].append(edge)

    def __call__(self, rows: Rows) -> FloatArray:
        """The peak of every genotype of a chunk, `(n,)`, in bytes."""
        live = np.zeros((len(self._bytes), rows.count))
        for source in range(len(self._bytes)):
            self._live_on(live, source, rows)
        return live.max(axis=0)

    def _live_on(self, live: FloatArray, source: int, rows: Rows) -> None:
        """Add the bytes of the tensor of `source` to every moment at which it is in memory."""
        size = self._sizes(source, rows)
        live[source] += size
        alive = np.zeros(rows.count, dtype=np.bool_)
        edges = list(self._read[source])
        for moment in range(edges[-1].reader if edges else source, source, -1):
            while edges and edges[-1].reader == moment:
                alive |= rows.of(edges.pop().there)
            live[moment] += np.where(alive, size, 0.0)

    def _sizes(self, source: int, rows: Rows) -> FloatArray:
        if not self._free[source]:
            return rows.of(self._bytes[source])
        widest = np.zeros(rows.count)
        for edge in self._read[source]:
            wanted = rows.of(self._bits[edge.reader])
            np.maximum(widest, np.where(rows.of(edge.there), wanted, 0.0), out=widest)
        return np.ceil(rows.of(self._elements[source]) * widest / 8)


Conversion = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


class Crossings:
    """The cost of converting tensors whose format is not the one in which their reader computes.

    Args:
        flow: The edges.
        tensors: The tensors that kernels write; a kernel reads in the format in which it writes.
        convert: Called with elements, bits written and bits wanted, each `(n,)`; returns the cost
            of each conversion, `(n,)`.
        slots: `(kernels, slots)`: the inputs of each kernel that count; all where left out.
    """

    def __init__(
        self,
        flow: Flow,
        tensors: Tensors,
        *,
        convert: Conversion,
        slots: BoolArray | None = None,
    ) -> None:
        self._bits = flow.tables(tensors.bits)
        self._formats = flow.tables(tensors.formats)
        self._elements = flow.tables(tensors.elements)
        self._convert = convert
        counted = [] if slots is None else [flow.tables(column) for column in slots.T]
        self._counted = {e: counted[e.slot][e.reader] for e in flow.edges if counted}
        self._edges = [edge for edge in flow.edges if self._matters(edge)]

    def _matters(self, edge: FlowEdge) -> bool:
        """Whether the formats on `edge` can differ, and whether its input counts at all."""
        if edge in self._counted and not self._counted[edge].values.any():
            return False
        written, wanted = self._formats[edge.source].values, self._formats[edge.reader].values
        found = set(written[written > 0].flat) | set(wanted[wanted > 0].flat)
        return bool(written.any()) and len(found) > 1

    def costs(self, rows: Rows) -> Iterator[tuple[FlowEdge, FloatArray, FloatArray]]:
        """For every edge whose formats can differ: the cost and the format wanted, each `(n,)`.

        Both are 0 for a genotype that does not have the edge or needs no conversion there.
        """
        for edge in self._edges:
            places = (edge.source, edge.reader)
            written, wanted = (rows.of(self._formats[place]) for place in places)
            unlike = rows.of(edge.there) & (written != wanted) & (written > 0)
            if edge in self._counted:
                unlike &= rows.of(self._counted[edge])
            widths = [rows.of(self._bits[place]) for place in places]
            cost = self._convert(rows.of(self._elements[edge.source]), *widths)
            yield edge, np.where(unlike, cost, 0.0), np.where(unlike, wanted, 0.0)


class Conversions:
    """The summed cost of all `Crossings`, `(n,)`.

    A tensor that several kernels read in the same other format is converted to it only once.
    """

    def __init__(self, crossings: Crossings) -> None:
        self._crossings = crossings

    def __call__(self, rows: Rows) -> FloatArray:
        """The cost of every genotype of a chunk, `(n,)`."""
        total = np.zeros(rows.count)
        done = defaultdict[int, list[FloatArray]](list)
        for edge, cost, wanted in self._crossings.costs(rows):
            for earlier in done[edge.source]:
                cost[earlier == wanted] = 0.0
            done[edge.source].append(wanted)
            total += cost
        return total


class LongestPath:
    """The time at which the last kernel ends if kernels run in parallel, `(n,)`.

    Each kernel starts as soon as all tensors that it reads are written.

    Args:
        flow: The edges.
        costs: The time of every kernel, `(kernels,)`; entry 0 is 0.
        crossings: The time of converting a tensor on an edge between kernels of unlike formats;
            conversions take no time where left out.
    """

    def __init__(self, flow: Flow, costs: FloatArray, crossings: Crossings | None = None) -> None:
        self._costs = flow.tables(costs)
        self._edges: Sequence[FlowEdge] = flow.edges
        self._crossings = crossings

    def __call__(self, rows: Rows) -> FloatArray:
        """The time at which the last kernel of every genotype of a chunk ends, `(n,)`."""
        crossings = () if self._crossings is None else self._crossings.costs(rows)
        delays = {edge: cost for edge, cost, _ in crossings}
        ends = np.zeros((len(self._costs), rows.count))
        edges = iter(self._edges)
        edge = next(edges, None)
        for place, table in enumerate(self._costs):
            while edge is not None and edge.reader == place:
                arrival = ends[edge.source] + delays.get(edge, 0.0)
                np.maximum(
                    ends[place], np.where(rows.of(edge.there), arrival, 0.0), out=ends[place]
                )
                edge = next(edges, None)
            ends[place] += rows.of(table)
        return ends.max(axis=0)
