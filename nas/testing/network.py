"""A slow reference for costs that depend on the flow of tensors from kernel to kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from itertools import pairwise

import networkx as nx

from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, Kernel, groups, kernels
from search_spaces.ops import Op


class SlowNetwork:
    """The costs of one resolved network, computed kernel by kernel in plain Python.

    Tests compare the vectorised costs of `search_spaces.flow` with these.

    Args:
        graph: A resolved graph.
        fusion: The operators that run as one kernel.
        width: The bits of the tensor that a kernel writes; 0 if every reader may choose them.
        time: The milliseconds of a kernel.
        convert: The milliseconds for a number of elements from one width to another.
    """

    def __init__(
        self,
        graph: Graph,
        fusion: Fusion,
        *,
        width: Callable[[Kernel], int],
        time: Callable[[Kernel], float],
        convert: Callable[..., float],
    ) -> None:
        self.kernels = {
            address: kernel
            for address, kernel in kernels(graph, fusion)
            if not all(op.is_view for op in kernel.ops)
        }
        self.reads = {
            group.members[-1]: [self._written(graph, read) for read in group.reads]
            for group in groups(graph, fusion)
        }
        self.order = list(self.kernels)
        self._width, self._time, self._convert = width, time, convert

    def _written(self, graph: Graph, address: str) -> str:
        """The address of the kernel that wrote a tensor; views write nothing."""
        while address not in self.kernels:
            (address,) = graph.nodes[address].inputs
        return address

    def summed(self) -> float:
        """The milliseconds of all kernels, one after the other."""
        return sum(map(self._time, self.kernels.values()))

    def peak(self) -> float:
        """The largest sum of bytes of tensors that are in memory at one time."""
        live: dict[str, float] = {}
        highest = 0.0
        for place, address in enumerate(self.order):
            elements = math.prod(self.kernels[address].output)
            live[address] = math.ceil(elements * self._held_in(address) / 8)
            highest = max(highest, sum(live.values()))
            later = {read for other in self.order[place + 1 :] for read in self.reads[other]}
            live = {a: held for a, held in live.items() if a in later}
        return highest

    def conversions(self, strict: Collection[type[Op]] = ()) -> float:
        """The milliseconds of all conversions, of each tensor once per format.

        The sum is infinite if an operator of `strict` would need a conversion.
        """
        paid: dict[tuple[str, int], float] = {}
        for reader in self.order:
            for slot, source in enumerate(self.reads[reader]):
                cost = self._conversion(source, reader)
                if cost and self._is_strict(self.kernels[reader], slot, strict):
                    return math.inf
                paid[source, self._width(self.kernels[reader])] = cost
        return sum(paid.values())

    def longest(self, *, converting: bool) -> float:
        """The milliseconds until the last kernel ends, if each kernel starts as soon as it can."""
        view: nx.DiGraph[str] = nx.DiGraph()
        for reader in self.order:
            own = self._time(self.kernels[reader])
            view.add_edge("start", reader, weight=own)
            for source in self.reads[reader]:
                delay = self._conversion(source, reader) if converting else 0.0
                view.add_edge(source, reader, weight=own + delay)
        path = nx.dag_longest_path(view)
        return sum(view.edges[a, b]["weight"] for a, b in pairwise(path))

    def _held_in(self, address: str) -> int:
        """The bits of a kernel's output; the most that a reader wants if readers may choose."""
        own = self._width(self.kernels[address])
        readers = (r for r in self.order if address in self.reads[r])
        return own or max(self._width(self.kernels[reader]) for reader in readers)

    def _conversion(self, source: str, reader: str) -> float:
        written, wanted = (self._width(self.kernels[address]) for address in (source, reader))
        elements = math.prod(self.kernels[source].output)
        return 0.0 if written in (0, wanted) else self._convert(elements, written, wanted)

    def _is_strict(self, kernel: Kernel, slot: int, strict: Collection[type[Op]]) -> bool:
        reading = zip(kernel.ops, kernel.slots, strict=True)
        return any(type(op) in strict and slot in slots for op, slots in reading)
