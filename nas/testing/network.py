"""One resolved network, walked slowly: what flows from kernel to kernel, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from itertools import pairwise

import networkx as nx

from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, Kernel, groups, kernels
from search_spaces.ops import Op


class SlowNetwork:
    """The reference that vectorised costs of the flow are held against.

    Args:
        graph: A resolved graph.
        fusion: What runs as one kernel.
        width: The bits of what a kernel writes; 0 where they are whatever readers want.
        time: What a kernel takes.
        convert: What it takes to bring elements from one width to another.
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
        """The kernel that wrote a tensor, past views, which are the same numbers."""
        while address not in self.kernels:
            (address,) = graph.nodes[address].inputs
        return address

    def summed(self) -> float:
        """Every kernel after the other."""
        return sum(map(self._time, self.kernels.values()))

    def peak(self) -> float:
        """The most bytes alive at once, tensor by tensor and moment by moment."""
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
        """Each tensor once to each format; infinite where an operator of `strict` needs one."""
        paid: dict[tuple[str, int], float] = {}
        for reader in self.order:
            for slot, source in enumerate(self.reads[reader]):
                cost = self._conversion(source, reader)
                if cost and self._is_strict(self.kernels[reader], slot, strict):
                    return math.inf
                paid[source, self._width(self.kernels[reader])] = cost
        return sum(paid.values())

    def longest(self, *, converting: bool) -> float:
        """The end of the last kernel where all that can runs at once."""
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
        """The bits of a result; where any will do, the widest that a reader wants."""
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
