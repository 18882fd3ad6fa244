"""An ensemble of predictors, weighted by their errors on measurements that were held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictors.features import Column, OneHot, checked
from predictors.gaussian import GaussianProcess
from predictors.held_out import fitted, sorted_by_genotype
from predictors.predictor import Predictor
from predictors.ridge import Ridge
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]


class Ensemble:
    """A predictor that mixes the predictions of several others.

    The weight of a member is the inverse of its mean squared error in five-fold cross-validation,
    squared, since part of that error is the noise of the losses, which all members share. With
    fewer than four distinct networks, all members have the same weight. The predicted standard
    deviation is that of the mixture, which contains the uncertainty of each member and their
    disagreement.

    Args:
        members: At least two predictors for the same space.

    Attributes:
        shares: The weight of each member, `(members,)`; their sum is 1.

    Raises:
        ValueError: If there are fewer than two members.
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        if len(members) < 2:
            raise ValueError(f"an ensemble needs at least two members, given {len(members)}")
        self.members = tuple(members)
        self.shares = np.full(len(members), 1 / len(members))

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Weight the members by cross-validation, and fit each of them to all measurements.

        Args:
            genotypes: `(n, choices)`, canonical.
            losses: `(n,)`, finite.
        """
        losses = checked(genotypes, losses)
        order = sorted_by_genotype(genotypes, losses)
        rows, ordered = np.asarray(genotypes)[order], losses[order]
        means, spreads = np.stack([fitted(each, rows, ordered) for each in self.members], axis=1)
        judged = np.isfinite(means).all(axis=0)
        errors = (means[:, judged] - ordered[judged]) ** 2
        weights = np.ones(len(means))
        if judged.any():
            missed = np.maximum(errors.mean(axis=1), 1e-12 * (ordered.var() or 1.0))
            weights = (missed.min() / missed) ** 2
        self.shares = weights / weights.sum()
        self._held_out = np.empty((2, len(order)))
        self._held_out[:, order] = self._mixture(means, spreads)

    def held_out(self) -> tuple[FloatArray, FloatArray]:
        """The mean and the deviation of each measurement when held out, each `(n,)`."""
        mean, spread = self._held_out
        return mean, spread

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of the mixture, each `(n,)`."""
        return self._mixture(*np.stack([m.predict(genotypes) for m in self.members], axis=1))

    def _mixture(self, means: FloatArray, spreads: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean = self.shares @ means
        return mean, np.sqrt(self.shares @ (spreads**2 + (means - mean) ** 2))


def ensemble(space: SearchSpace, columns: Sequence[Column] = ()) -> Ensemble:
    """A Gaussian process and a ridge regression on the picks in a space and further columns."""
    features = OneHot(space, extra=columns)
    return Ensemble([GaussianProcess(features), Ridge(features.compact)])
