"""The cost of the seams of a whole population of networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nas.targets.numerics import Numerics
from nas.targets.seams.seam import Seam
from nas.targets.seams.space_seams import SpaceSeams
from search_spaces.costs import FloatArray
from search_spaces.flow import Rows
from search_spaces.kernels import Kernel

AddedBy = Callable[[Seam, FloatArray], FloatArray]


class SeamCost:
    """The summed cost of all seams of every genotype of a chunk, `(n,)`.

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
        self._tables = [each for each in zip(*tables, strict=True) if each[0].values.any()]

    def __call__(self, rows: Rows) -> FloatArray:
        """The cost of every genotype of a chunk, `(n,)`."""
        total = np.zeros(rows.count)
        for seams, sizes, gaps in self._tables:
            numbers = rows.of(seams)
            total += self._figures[numbers, rows.of(sizes)]
            total += self._falls[numbers] * rows.of(gaps)
        return total
