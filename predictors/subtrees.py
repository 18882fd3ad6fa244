"""The subtrees of operators in the operator graphs of networks, counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictors.operator_graph import OperatorGraph, Wired
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
Hashes = NDArray[np.uint64]

HEIGHTS = 3


class Subtrees:
    """The subtrees of operators in networks, by Weisfeiler-Lehman relabelling.

    Each operator begins with its traits (`OperatorGraph`) as its label. In each further round, its
    new label stands for its old label and for the labels of all operators that it reads or that
    read it (Shervashidze et al. 2011, section 3.1). Equal labels after h rounds mean equal subtrees
    of height h.

    Args:
        space: The space of the networks.
        heights: The number of heights, from 0.
    """

    def __init__(self, space: SearchSpace, *, heights: int = HEIGHTS) -> None:
        self._graphs = OperatorGraph(space)
        self.heights = heights

    def __call__(self, genotypes: IntArray) -> list[Listed]:
        """The subtrees of each height in canonical `genotypes` `(n, choices)`."""
        wired = self._graphs(genotypes)
        labels = _mixed(wired.traits.astype(np.uint64)).sum(axis=0, dtype=np.uint64)
        found = [_listed(labels, wired.vertex)]
        for _ in range(1, self.heights):
            labels = _relabelled(labels, wired)
            found.append(_listed(labels, wired.vertex))
        return found


@dataclass(frozen=True, eq=False)
class Listed:
    """The different subtrees of one height in each of `n` networks.

    Attributes:
        count: The number of networks n.
        network: The network of each entry, ascending.
        label: The label of its subtree.
        times: How often the network has the subtree.
    """

    count: int
    network: NDArray[np.int64]
    label: Hashes
    times: FloatArray

    @property
    def squares(self) -> FloatArray:
        """The squared length of each network's counts, `(n,)`."""
        squares = np.bincount(self.network, self.times**2, minlength=self.count)
        return squares.astype(np.float64)

    def counts(self, known: Hashes) -> csr_array:
        """The counts of the subtrees `known`, which ascend, `(n, known)`; others are left out."""
        at = np.searchsorted(known, self.label).clip(max=max(len(known) - 1, 0))
        kept = known[at] == self.label if len(known) else np.zeros(len(at), np.bool_)
        shape = (self.count, len(known))
        return csr_array((self.times[kept], (self.network[kept], at[kept])), shape=shape)


def _listed(labels: Hashes, vertex: NDArray[np.bool_]) -> Listed:
    network, found = np.nonzero(vertex.T)[0], labels.T[vertex.T]
    order = np.lexsort((found, network))
    network, found = network[order], found[order]
    new = np.ones(len(found), np.bool_)
    new[1:] = (np.diff(network) > 0) | (found[1:] != found[:-1])
    starts = np.flatnonzero(new)
    times = np.diff(starts, append=len(found)).astype(np.float64)
    return Listed(labels.shape[1], network[starts], found[starts], times)


def _relabelled(labels: Hashes, wired: Wired) -> Hashes:
    """The labels after another round; a multiset is known by the sum of its mixed labels."""
    sent = np.where(wired.vertex, _mixed(labels), np.uint64(0))
    near = wired.from_inputs(sent) + wired.from_readers(sent)
    return _mixed(_mixed(labels + np.uint64(1)) ^ near)


def _mixed(values: Hashes) -> Hashes:
    """A one-to-one map of 64-bit numbers, of random looks (SplitMix64, Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
