"""Several predictors as one, each weighted by how well it predicts what it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictors.features import checked
from predictors.predictor import Predictor
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]

_FOLDS = 5


class Ensemble:
    """A mixture of predictors, weighted by their inverse cross-validated squared errors.

    Its standard deviation is that of the mixture: the members' own uncertainty and their
    disagreement. With fewer measurements than folds all members weigh the same.

    Args:
        members: At least two predictors of the same genotypes.
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        if len(members) < 2:
            raise ValueError(f"an ensemble needs at least two members, given {len(members)}")
        self.members = tuple(members)
        self.shares = np.full(len(members), 1 / len(members))

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Weigh the members by five-fold cross-validation, then fit them to everything."""
        losses = checked(genotypes, losses)
        # Folds follow the genotypes' own order, so that the order of arrival decides nothing.
        _, place = np.unique(genotypes, axis=0, return_inverse=True)
        order = np.argsort(place.ravel(), kind="stable")
        rows, losses = genotypes[order], losses[order]
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
        """Mean squared error over folds that the member was not fitted to."""
        if len(rows) < 2 * _FOLDS:
            return 1.0
        fold = np.arange(len(rows)) % _FOLDS
        error = 0.0
        for held in range(_FOLDS):
            out = fold == held
            member.fit(rows[~out], losses[~out])
            error += float(((member.predict(rows[out])[0] - losses[out]) ** 2).sum())
        return max(error / len(rows), 1e-12)
