"""A Gaussian process whose kernel compares the operator graphs of networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictors.features import Column, checked
from predictors.gaussian import Evidence, Prior, Reach, representatives, settled
from predictors.similarity import Similarity
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

_BLOCK = 2048
_LEAST = 1e-9  # of the largest eigenvalue, below which an axis holds rounding errors only


class SubtreeProcess:
    """A Gaussian process with the kernel exp(-d) + t p, over picks and subtrees of operators.

    d is the weighted sum of the squared distances of a few groups (`Similarity`): picks that
    differ, picks apart in their order, sums over kinds and paths, extra columns, and the counts of
    subtrees of height 0, 1 and 2 (the Weisfeiler-Lehman kernel, Shervashidze et al. 2011, section
    3.2; as a process over cells, Ru et al. 2021, NAS-BOWL). p is the scalar product under the same
    weights, from the mean of the measured networks. Each group has one weight, where
    `GaussianProcess` has one for every choice: fewer measurements are needed, and networks with
    equal graphs are equal in most groups. Weights, trend and noise maximise their posterior.

    Args:
        similarity: The groups.
        prior: The prior of the kernel's parameters; the subtrees' are those of columns.
        reach: How many measurements are treated exactly, as in `GaussianProcess`.
    """

    def __init__(
        self,
        similarity: Similarity,
        *,
        prior: Prior = Prior(),  # noqa: B008  # frozen
        reach: Reach = Reach(),  # noqa: B008  # frozen
    ) -> None:
        self.prior = prior
        self.part = np.minimum(np.arange(similarity.groups), 2)
        self._similarity = similarity
        self._reach = reach

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn from canonical `genotypes` `(n, choices)` and their finite `losses` `(n,)`.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite.
        """
        losses, rows = checked(genotypes, losses), np.asarray(genotypes)
        self._center, self._spread = float(losses.mean()), float(losses.std()) or 1.0
        y = (losses - self._center) / self._spread
        tuned = representatives(losses, self._reach.tuned)
        products = self._similarity.hold(rows[tuned])
        squares = np.diagonal(products, axis1=1, axis2=2)
        apart = squares[:, :, None] + squares[:, None] - 2 * products
        # Means of one, so that a prior of their weights holds for all groups.
        share = np.log(
            np.maximum(apart.mean(axis=(1, 2)), 1e-9) * np.bincount(self.part)[self.part]
        )
        self._mean = np.array(self.prior.reach)[self.part] - share
        pairs = apart[:, *np.triu_indices(len(tuned), 1)].astype(np.float32)
        parameters = Evidence(pairs, y[tuned], self).likeliest()
        self._settle(rows, y, parameters)

    def weights(self, parameters: FloatArray) -> FloatArray:
        """The weight of each group, `(groups,)`, from the parameters that are optimised."""
        return np.exp(self._mean + parameters[3:-2] + parameters[:3][self.part])

    def _settle(self, rows: IntArray, y: FloatArray, parameters: FloatArray) -> None:
        """Find coordinates in which scalar products are those of the weighted groups."""
        self._double = 2 * self.weights(parameters)
        held = representatives(y, self._reach.exact)
        products = np.tensordot(self._double, self._similarity.hold(rows[held]), 1)
        values, vectors = np.linalg.eigh(products)
        kept = values > _LEAST * max(float(values[-1]), _LEAST)
        self._axes = vectors[:, kept] / np.sqrt(values[kept])
        self._origin = np.zeros(int(kept.sum()) + 1)
        self._origin = self._points(rows[held]).mean(axis=0)
        points = np.concatenate([self._points(rows[at]) for at in _blocks(len(rows))])
        self._posterior = settled(points, y, parameters, reach=self._reach)

    def _points(self, rows: IntArray) -> FloatArray:
        """The coordinates along the held networks, and the distance from these axes as the last."""
        products, squares = self._similarity(rows)
        along = np.tensordot(self._double, products, 1) @ self._axes
        beyond = self._double @ squares - np.einsum("nc,nc->n", along, along)
        return np.column_stack([along, np.sqrt(np.maximum(beyond, 0.0))]) - self._origin

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of the loss without measurement noise, each `(n,)`.

        Args:
            genotypes: `(n, choices)`, canonical.
        """
        mean, variance = np.empty((2, len(genotypes)))
        for at in _blocks(len(genotypes)):
            mean[at], variance[at] = self._posterior(self._points(genotypes[at]).astype(np.float32))
        return mean * self._spread + self._center, np.sqrt(variance) * self._spread


def weisfeiler_lehman(space: SearchSpace, columns: Sequence[Column] = ()) -> SubtreeProcess:
    """A Gaussian process over picks, further columns and the subtrees of operators."""
    return SubtreeProcess(Similarity(space, columns))


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, count, _BLOCK)]
