"""An ensemble of predictors, weighted by their errors on measurements that were held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictors.features import Column, OneHot, checked
from predictors.gaussian import GaussianProcess
from predictors.held_out import FOLDS, folds_of, held_out, sorted_by_genotype
from predictors.predictor import Predictor
from predictors.ridge import Ridge
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]


class Ensemble:
    """A predictor that mixes the predictions of several others.

    The weight of a member is the inverse of its squared error in five-fold cross-validation. With
    fewer than ten measurements, all members have the same weight. The predicted standard deviation
    is that of the mixture, which contains the uncertainty of each member and their disagreement.

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
        """Weight the members by cross-validation, then fit each of them to all measurements.

        Args:
            genotypes: `(n, choices)`, canonical.
            losses: `(n,)`, finite.
        """
        rows, losses = sorted_by_genotype(genotypes, checked(genotypes, losses))
        weights = np.array([1 / self._held_out_error(m, rows, losses) for m in self.members])
        self.shares = weights / weights.sum()
        for member in self.members:
            member.fit(rows, losses)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of the mixture, each `(n,)`."""
        means, spreads = np.stack([m.predict(genotypes) for m in self.members], axis=1)
        mean = self.shares @ means
        variance = self.shares @ (spreads**2 + (means - mean) ** 2)
        return mean, np.sqrt(variance)

    def _held_out_error(self, member: Predictor, rows: IntArray, losses: FloatArray) -> float:
        """The mean squared error of a member on measurements that were held out.

        1 with fewer than two measurements per fold, or of a single network.
        """
        folds = folds_of(rows)
        if len(rows) < 2 * FOLDS or not folds.any():
            return 1.0
        mean, _ = held_out(member, rows, losses, folds=folds)
        return max(float(((mean - losses) ** 2).mean()), 1e-12)


def ensemble(space: SearchSpace, columns: Sequence[Column] = ()) -> Ensemble:
    """A Gaussian process and a ridge regression on the picks in a space and further columns."""
    features = OneHot(space, extra=columns)
    return Ensemble([GaussianProcess(features), Ridge(features.compact)])
