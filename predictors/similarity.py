"""The similarity of networks: picks, columns and subtrees, each weighted as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictors.features import Column, OneHot
from predictors.subtrees import Subtrees
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]


class Similarity:
    """Scalar products of networks, one for each of a few groups of features.

    The groups are: different picks (Hamming), the order of picks, sums over kinds of choices and
    paths (see `OneHot`), every extra column, and the counts of subtrees of each height (see
    `Subtrees`).

    Args:
        space: The space of the networks.
        columns: Further features of genotypes.

    Attributes:
        groups: The number of groups.
    """

    def __init__(self, space: SearchSpace, columns: Sequence[Column] = ()) -> None:
        self._features = OneHot(space, extra=columns)
        self._subtrees = Subtrees(space)
        one_hot, ordinal, more = self._features.parts
        extra = [slice(self._features.columns - i, None) for i in range(len(columns), 0, -1)]
        extra = [slice(part.start, part.start + 1) for part in extra]
        inner = slice(more.start, more.stop - len(columns))
        self._parts = (one_hot, ordinal, inner, *extra)
        self.groups = len(self._parts) + self._subtrees.heights

    def hold(self, genotypes: IntArray) -> FloatArray:
        """Hold networks, to which others are compared; the products of every two of them.

        Args:
            genotypes: `(m, choices)`, canonical.

        Returns:
            `(groups, m, m)`.
        """
        self._held = self._features(genotypes).astype(np.float64)
        listed = self._subtrees(genotypes)
        self._known = [np.unique(one.label) for one in listed]
        pairs = zip(listed, self._known, strict=True)
        self._counted = [one.counts(known) for one, known in pairs]
        return self(genotypes)[0]

    def __call__(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The products with the held networks and those of each network with itself.

        Args:
            genotypes: `(n, choices)`, canonical.

        Returns:
            `(groups, n, m)` and `(groups, n)`.
        """
        X = self._features(genotypes).astype(np.float64)
        products = [X[:, part] @ self._held[:, part].T for part in self._parts]
        squares = [np.einsum("nc,nc->n", X[:, part], X[:, part]) for part in self._parts]
        listed = self._subtrees(genotypes)
        for one, known, counted in zip(listed, self._known, self._counted, strict=True):
            products.append((one.counts(known) @ counted.T).toarray())
            squares.append(one.squares)
        return np.array(products), np.array(squares)
