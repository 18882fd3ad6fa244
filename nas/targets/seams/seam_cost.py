"""The cost of the seams of a whole population of networks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np

from nas.targets.numerics import Numerics
from nas.targets.seams.seam import Seam
from nas.targets.seams.space_seams import SpaceSeams
from search_spaces.costs import FloatArray
from search_spaces.flow import FlowEdge, Rows
from search_spaces.kernels import Kernel

_LEAST_MS = 1e-9
AddedBy = Callable[[Seam, FloatArray], FloatArray]


class SeamCost:
    """The summed cost of all seams of every genotype of a chunk, `(n,)`.

    A kernel that is slower alone than in a network, such as a pooling on integers in another layout
    than that of convolutions, saves time in the seam before it and in the seam behind it, and both
    measure the same saving. So what a seam saves is shared by its kernels as the squares of their
    times alone are, since a slow one has the most to save, and each kernel keeps the largest of its
    shares only.

    Args:
        seams: The seams of the space.
        added_by: A function of a seam and of numbers of elements, `(sizes,)`, that returns the cost
            of tensors of these sizes, `(sizes,)`.
        alone: The cost of a kernel alone in given formats. A kernel that computes in floats because
            of its readers costs what it costs in floats, and not what it costs in its own formats.
    """

    def __init__(
        self, seams: SpaceSeams, added_by: AddedBy, *, alone: Callable[[Kernel, Numerics], float]
    ) -> None:
        kernels = seams.flow.kernels.distinct()
        elements = np.array([0.0, *(float(math.prod(kernel.output)) for kernel in kernels)])
        sizes, places = np.unique(elements, return_inverse=True)
        self._figures = np.zeros((len(seams.seams), len(sizes)))
        for number, seam in enumerate(seams.seams):
            if seam is not None:
                self._figures[number] = added_by(seam, sizes)
        self._falls = np.array([seam is not None and not seam.on_one_grid for seam in seams.seams])
        gaps = np.zeros(len(elements))
        for number, (kernel, own, floats) in seams.falling.items():
            gaps[number] = alone(kernel, floats) - alone(kernel, own)
        tables = (seams.tables, seams.flow.tables(places), seams.flow.tables(gaps))
        every = enumerate(zip(*tables, strict=True))
        self._tables = {place: each for place, each in every if each[0].values.any()}
        self._alone = seams.flow.tables(
            np.array([0.0, *(alone(*one) if one else 0.0 for one in seams.computing())])
        )
        self._readers = defaultdict[int, list[FlowEdge]](list)
        for edge in seams.flow.edges:
            self._readers[edge.source].append(edge)

    def __call__(self, rows: Rows) -> FloatArray:
        """The cost of every genotype of a chunk, `(n,)`."""
        total, saved = np.zeros(rows.count), dict[int, FloatArray]()
        for place, (seams, sizes, gaps) in self._tables.items():
            numbers = rows.of(seams)
            added = self._figures[numbers, rows.of(sizes)]
            saved[place] = np.minimum(added, 0)
            total += np.maximum(added, 0) + self._falls[numbers] * rows.of(gaps)
        return total + self._saved(rows, {p: s for p, s in saved.items() if s.any()})

    def _saved(self, rows: Rows, saved: Mapping[int, FloatArray]) -> FloatArray:
        """What all kernels save, `(n,)`, at most 0, from what each seam saves, by its place."""
        most = defaultdict[int, FloatArray](lambda: np.zeros(rows.count))
        for place, added in saved.items():
            alone = {place: rows.of(self._alone[place]) ** 2}
            for edge in self._readers[place]:
                spent = rows.of(edge.there) * rows.of(self._alone[edge.reader]) ** 2
                alone[edge.reader] = alone.get(edge.reader, 0.0) + spent
            whole = np.maximum(sum(alone.values()), _LEAST_MS)
            for kernel, spent in alone.items():
                most[kernel] = np.minimum(most[kernel], added * spent / whole)
        return sum(most.values(), np.zeros(rows.count))
