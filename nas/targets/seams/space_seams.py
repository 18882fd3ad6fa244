"""The seams of all networks of a space."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from nas.targets.numerics import Numerics
from nas.targets.seams.seam import Seam, may_fall_back, read_by, written_by
from search_spaces.costs import SpaceKernels
from search_spaces.flow import Flow, FlowEdge
from search_spaces.kernels import Kernel
from search_spaces.lookups import Lookup, tabulate
from search_spaces.space import IntArray

ComputesIn = Callable[[Kernel], Numerics | None]
_PASSES = -1  # a kernel that changes no number: its readers read the tensor before it
_APART = (
    -2
)  # a kernel that neither reads nor writes when the network runs, such as a learned tensor


@dataclass(frozen=True)
class Reader:
    """A kernel that reads a tensor, its formats, and which of its inputs the tensor is.

    That input has another shape than the tensor where a view lies between.
    """

    kernel: Kernel
    numerics: Numerics
    slot: int


@dataclass(frozen=True)
class Tensor:
    """A tensor of a network with the kernels around it.

    Attributes:
        writer: The kernel that writes the tensor.
        numerics: The formats of that kernel; None behind an input.
        readers: The kernels that read the tensor.
        falls_back: The formats in which the writer computes for these readers, if other ones.
    """

    writer: Kernel
    numerics: Numerics | None
    readers: tuple[Reader, ...]
    falls_back: Numerics | None = None

    @property
    def seam(self) -> Seam:
        """The kinds of the kernels around the tensor."""
        readers = (read_by(r.kernel, r.numerics, r.slot) for r in self.readers)
        return Seam(written_by(self.writer, self.numerics), tuple(sorted(readers)))

    @property
    def elements(self) -> int:
        """The number of elements for one sample."""
        return math.prod(self.writer.output)

    @property
    def alone(self) -> tuple[tuple[Kernel, Numerics], ...]:
        """The kernels around the tensor that run, each with the formats it computes in here."""
        runs = self.falls_back or self.numerics
        first = () if runs is None else ((self.writer, runs),)
        return (*first, *((reader.kernel, reader.numerics) for reader in self.readers))


class SpaceSeams:
    """The seam of every tensor of every network of a space, as lookups over few choices.

    Args:
        kernels: The kernels of the space, fused as on the device.
        computes_in: The formats in which the device computes a kernel; None for a refused kernel.
        in_floats: The formats in which a kernel computes in floats; None where it does not.

    Attributes:
        falling: The number of every kernel that may compute in floats because of its readers, with
            the kernel, its own formats and those in floats.
        flow: The edges between the kernels.
        seams: Every seam by its number; number 0 stands for no seam.
        tables: The number of the seam of the tensor that each address of the flow writes, 0 where
            it writes none. A tensor beside a refused kernel has no seam.
    """

    def __init__(
        self, kernels: SpaceKernels, computes_in: ComputesIn, *, in_floats: ComputesIn
    ) -> None:
        self.flow = Flow(kernels)
        self.seams: list[Seam | None] = [None]
        self._kernels = kernels
        self._numerics = [None, *(computes_in(k) if k.runs else None for k in kernels.distinct())]
        self.falling = {
            number: (kernel, own, floats)
            for number, kernel in enumerate(kernels.distinct(), 1)
            if (own := self._numerics[number]) is not None
            and may_fall_back(kernel, own)
            and (floats := in_floats(kernel)) is not None
        }
        self._counts = {c.name: len(c.options) for c in kernels.space.choices}
        self._edges = defaultdict[int, list[FlowEdge]](list)
        for edge in self.flow.edges:
            self._edges[edge.source].append(edge)
        self._names: dict[str, int] = {"": 0}
        self._known: dict[Seam, int] = {}
        slots = 1 + max((edge.slot for edge in self.flow.edges), default=0)
        self._writes = self.flow.tables(self._numbered(self._written))
        self._reads = [
            self.flow.tables(self._numbered(lambda number, s=slot: self._read(number, s)))
            for slot in range(slots)
        ]
        self._named = list(self._names)
        self.tables = [self._tabulated(place) for place in range(len(self.flow.addresses))]

    def computing(self) -> list[tuple[Kernel, Numerics] | None]:
        """Every kernel with the formats in which it computes; None for one that does not run."""
        pairs = zip(self._kernels.distinct(), self._numerics[1:], strict=True)
        return [(kernel, own) if own is not None else None for kernel, own in pairs]

    def distinct(self) -> list[Seam]:
        """Every seam of some network of the space."""
        return [seam for seam in self.seams if seam is not None]

    def tensors(self) -> Iterator[Tensor]:
        """A few tensors of every seam, among them small and large ones."""
        for place, table in enumerate(self.tables):
            numbers, first = np.unique(table.values, return_index=True)
            for index in first[numbers > 0].tolist():
                picked = map(int, np.unravel_index(index, table.values.shape))
                fixed = dict(zip(table.choices, picked, strict=True))
                for share in (0.0, 0.5, 1.0):
                    rest = {name: round(share * (n - 1)) for name, n in self._counts.items()}
                    yield self._tensor(place, {**rest, **fixed})

    def _tensor(self, place: int, picks: Mapping[str, int]) -> Tensor:
        writer = self._at(place, picks)
        read = [(self._at(edge.reader, picks), edge.slot) for edge in self._read_at(place, picks)]
        readers = (
            Reader(self._kernel(number), numerics, slot)
            for number, slot in read
            if (numerics := self._numerics[number]) is not None
        )
        made = Tensor(self._kernel(writer), self._numerics[writer], tuple(readers))
        if writer not in self.falling or made.seam.on_one_grid:
            return made
        return replace(made, falls_back=self.falling[writer][2])

    def _at(self, place: int, picks: Mapping[str, int]) -> int:
        """The number of the kernel at a place of the flow."""
        return int(self._kernels.tables[self.flow.addresses[place]].at(picks))

    def _kernel(self, number: int) -> Kernel:
        return self._kernels.distinct()[number - 1]

    def _written(self, number: int) -> str | None:
        kernel, numerics = self._kernel(number), self._numerics[number]
        if numerics is None and (kernel.inputs or not kernel.output):
            return None
        return written_by(kernel, numerics)

    def _read(self, number: int, slot: int) -> str | None:
        kernel, numerics = self._kernel(number), self._numerics[number]
        if numerics is None or slot >= len(kernel.inputs):
            return None
        return read_by(kernel, numerics, slot)

    def _numbered(self, kind: Callable[[int], str | None]) -> IntArray:
        """The number of every kernel's kind, `(kernels,)`: 0 for none, below 0 if it rests."""
        found = np.zeros(len(self._kernels.kernels), np.int64)
        for number, kernel in enumerate(self._kernels.distinct(), 1):
            if kernel.inputs and not kernel.runs:
                found[number] = _PASSES if _changes_nothing(kernel) else _APART
            elif (name := kind(number)) is not None:
                found[number] = self._names.setdefault(name, len(self._names))
        return found

    def _tabulated(self, place: int) -> Lookup:
        def number(picks: Mapping[str, int]) -> int:
            writer = int(self._writes[place].at(picks))
            if writer <= 0:
                return 0
            edges = self._read_at(place, picks)
            readers = [int(self._reads[edge.slot][edge.reader].at(picks)) for edge in edges]
            return 0 if 0 in readers else self._interned(writer, readers)

        what = f"the tensor of {self.flow.addresses[place]!r} with its readers"
        return tabulate(what, self._counts, number, np.int64)

    def _read_at(self, place: int, picks: Mapping[str, int]) -> Iterator[FlowEdge]:
        """The edges to the kernels that read the tensor of a place, perhaps through others."""
        for edge in self._edges[place]:
            if edge.there.at(picks):
                kind = self._writes[edge.reader].at(picks)
                if kind == _PASSES:
                    yield from self._read_at(edge.reader, picks)
                elif kind != _APART:
                    yield edge

    def _interned(self, writer: int, readers: Iterable[int]) -> int:
        seam = Seam(self._named[writer], tuple(sorted(self._named[one] for one in readers)))
        if seam not in self._known:
            self._known[seam] = len(self.seams)
            self.seams.append(seam)
        return self._known[seam]


def _changes_nothing(kernel: Kernel) -> bool:
    return all(op.is_view or op.is_identity(*reads) for op, reads in kernel.members())
