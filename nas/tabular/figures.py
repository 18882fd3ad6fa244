"""The loss or a cost of any network of a table, from its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.tabular.description import TableError
from nas.tabular.exact import grid_strides
from nas.tabular.surrogate import Surrogate
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]
_LARGEST_GRID = 1 << 22


class TableFigure(Protocol):
    """A function for the loss or a cost of any network of a table."""

    @property
    def note(self) -> str:
        """The origin of figures that the table lacks, in words; empty where it lacks none."""
        ...

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of canonical genotypes `(n, choices)`, as `(n,)`."""
        ...


class Places:
    """An index from genotypes to rows of a table.

    Args:
        rows: The distinct genotypes of the table, `(n, choices)`, in lexicographic order.
        counts: The number of options of each choice, `(choices,)`.
    """

    def __init__(self, rows: IntArray, counts: NDArray[np.int64]) -> None:
        self._strides = grid_strides(counts)
        self._grid = self._keys = None
        if np.prod(counts.astype(np.float64)) <= _LARGEST_GRID:
            self._grid = np.full(int(np.prod(counts)), -1, dtype=np.int64)
            self._grid[self._flat(rows)] = np.arange(len(rows))
        else:
            self._keys = _bytes(rows)

    def __call__(self, genotypes: IntArray) -> NDArray[np.int64]:
        """The number of the row of each genotype, `(n,)`; -1 for a genotype without a row."""
        if self._grid is not None:
            return self._grid[self._flat(genotypes)]
        assert self._keys is not None
        asked = _bytes(genotypes)
        place = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
        return np.where(self._keys[place] == asked, place, -1)

    def _flat(self, genotypes: IntArray) -> NDArray[np.intp]:
        return np.asarray(genotypes, dtype=np.intp) @ self._strides


def _bytes(rows: IntArray) -> NDArray[np.bytes_]:
    """Each row as one byte string; byte strings sort as the rows do."""
    packed = np.ascontiguousarray(rows, dtype=">u2")
    return packed.view(f"S{2 * rows.shape[1]}").ravel()


@dataclass(frozen=True, eq=False)
class Column:
    """A loss or cost from a column of a table, with a surrogate for networks without a figure.

    Attributes:
        places: The index from genotypes to rows.
        values: The figure of every row, `(rows,)`; NaN where it is not known.
        surrogate: A predictor of unknown figures; without one, an unknown figure is an error.
    """

    places: Places
    values: FloatArray
    surrogate: Surrogate | None = None

    @property
    def note(self) -> str:
        """The kind and the quality of the surrogate, in words; empty without a surrogate."""
        if self.surrogate is None:
            return ""
        return f"that of networks without one in the table is {self.surrogate.note}"

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of canonical genotypes `(n, choices)`, as `(n,)`.

        Raises:
            TableError: If a figure is not known and there is no surrogate.
        """
        place = self.places(genotypes)
        found = np.where(place < 0, np.nan, self.values[place])
        unknown = np.isnan(found)
        if unknown.any():
            if self.surrogate is None:
                raise TableError(f"the table has no row for {genotypes[unknown][0].tolist()}")
            found[unknown] = self.surrogate(genotypes[unknown])
        return found


@dataclass(frozen=True, eq=False)
class Listed:
    """A loss or cost of the networks that a table lists; all others cannot be built.

    Attributes:
        places: The index from genotypes to rows.
        rows: The networks of the table, `(rows, choices)`.
        values: The figure of every row, `(rows,)`.
        otherwise: The figure of a network that cannot be built.
        note: Says how many networks can be built; empty for costs.
    """

    places: Places
    rows: IntArray
    values: FloatArray
    otherwise: float
    note: str = ""

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The figure of canonical genotypes `(n, choices)`, as `(n,)`."""
        place = self.places(genotypes)
        return np.where(place < 0, self.otherwise, self.values[place])
