"""The cost of the seams of a whole population of networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nas.targets.seams.seam import Seam
from nas.targets.seams.space_seams import SpaceSeams
from search_spaces.costs import FloatArray
from search_spaces.flow import Rows

AddedBy = Callable[[Seam, FloatArray], FloatArray]


class SeamCost:
    """The summed cost of all seams of every genotype of a chunk, `(n,)`.

    Args:
        seams: The seams of the space.
        added_by: A function of a seam and of numbers of elements, `(sizes,)`, that returns the cost
            of tensors of these sizes, `(sizes,)`.
    """

    def __init__(self, seams: SpaceSeams, added_by: AddedBy) -> None:
        kernels = seams.flow.kernels.distinct()
        elements = np.array([0.0, *(float(math.prod(kernel.output)) for kernel in kernels)])
        sizes, places = np.unique(elements, return_inverse=True)
        self._figures = np.zeros((len(seams.seams), len(sizes)))
        for number, seam in enumerate(seams.seams):
            if seam is not None:
                self._figures[number] = added_by(seam, sizes)
        tables = zip(seams.tables, seams.flow.tables(places), strict=True)
        self._tables = [(table, size) for table, size in tables if table.values.any()]

    def __call__(self, rows: Rows) -> FloatArray:
        """The cost of every genotype of a chunk, `(n,)`."""
        total = np.zeros(rows.count)
        for seams, sizes in self._tables:
            total += self._figures[rows.of(seams), rows.of(sizes)]
        return total
