"""Coordinates of networks by the similarity of their graphs, and a predictor over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import KernelPCA

from predictors.features import Column
from predictors.pairs import PairRidge
from predictors.similarity import Similarity
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

SIZE = 16
_REFERENCE = 256


class GraphEmbedding:
    """Coordinates of networks: called with `(n, choices)`, returns `(n, size)` as float32.

    Networks with similar graphs are near each other. The coordinates are those of classical
    multidimensional scaling over random networks of the space; others are placed among these by
    their distances (Gower 1968). A squared distance is the sum over the groups of `Similarity`,
    each in units of its mean. FlexiBERT (Tuli et al. 2022, section 3.2) takes the graph edit
    distance, which needs seconds for a pair of small graphs; all networks of a space are parts of
    one graph, so what an edit changes is known without a search for the best match.

    Args:
        space: The space of the networks.
        columns: Further features of genotypes.
        size: The largest number of coordinates.
        seed: The seed of the random networks.
    """

    def __init__(
        self,
        space: SearchSpace,
        columns: Sequence[Column] = (),
        *,
        size: int = SIZE,
        seed: int = 0,
    ) -> None:
        self._similarity = Similarity(space, columns)
        rows = np.unique(space.sample_array(np.random.default_rng(seed), _REFERENCE), axis=0)
        products = self._similarity.hold(rows)
        squares = np.diagonal(products, axis1=1, axis2=2)
        apart = 2 * (squares.mean(axis=1) - products.mean(axis=(1, 2)))
        self._scale = np.where(apart > 1e-9, 1 / np.maximum(apart, 1e-9), 0.0)
        total = np.tensordot(self._scale, products, 1)
        self._placed = KernelPCA(size, kernel="precomputed").fit(total)

    def __call__(self, genotypes: IntArray) -> NDArray[np.float32]:
        """The coordinates of canonical `genotypes`."""
        products, _ = self._similarity(genotypes)
        placed = self._placed.transform(np.tensordot(self._scale, products, 1))
        return placed.astype(np.float32)


def graph_embedding(space: SearchSpace, columns: Sequence[Column] = ()) -> PairRidge:
    """A ridge regression on the coordinates of a graph embedding and on all their products."""
    return PairRidge(GraphEmbedding(space, columns))
