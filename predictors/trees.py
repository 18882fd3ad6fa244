"""Forests and boosted trees over the features of genotypes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor

from predictors.features import Column, OneHot, checked
from predictors.folded import Columns, Folded, Models, standard, with_constant
from predictors.held_out import sorted_by_genotype
from predictors.ridge import Features
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

_TREES = 100


class Forest:
    """Extremely randomised trees, each fitted to a draw with replacement (Geurts et al. 2006).

    The predicted deviation is that between the trees. A forest predicts no loss beyond those that
    were measured, and the deviation says little of networks unlike all that were measured.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, such as
            `OneHot(space)`.
    """

    def __init__(self, features: Features) -> None:
        self.features = features

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn from canonical `genotypes` `(n, choices)` and their finite `losses` `(n,)`.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite.
        """
        losses = checked(genotypes, losses)
        order = sorted_by_genotype(genotypes, losses)
        X = with_constant(self.features, np.asarray(genotypes)[order])
        self._center, self._scale, y = standard(losses[order])
        trees = ExtraTreesRegressor(_TREES, max_features=1 / 3, bootstrap=True, random_state=0)
        self._trees = trees.fit(X, y)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean over the trees and their standard deviation, each `(n,)`."""
        X = with_constant(self.features, genotypes)
        each = np.array([tree.predict(X) for tree in self._trees.estimators_])
        return self._center + self._scale * each.mean(axis=0), self._scale * each.std(axis=0)


class Boosted(Folded):
    """Boosted trees (Friedman 2002), one model for each fold of the measurements.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, such as
            `OneHot(space)`.
        trees: The number of trees of a model.
    """

    def __init__(self, features: Features, *, trees: int = _TREES) -> None:
        def learner(X: Columns, y: FloatArray, seen: NDArray[np.bool_]) -> Models:
            models = [_boosted(trees, X[own], y[own]) for own in seen]
            return lambda X: np.array([model.predict(X) for model in models])

        super().__init__(features, learner)


def forest(space: SearchSpace, columns: Sequence[Column] = ()) -> Forest:
    """A forest over the picks in a space and further columns."""
    return Forest(OneHot(space, extra=columns))


def boosted(space: SearchSpace, columns: Sequence[Column] = ()) -> Boosted:
    """Boosted trees over the picks in a space and further columns."""
    return Boosted(OneHot(space, extra=columns))


def _boosted(trees: int, X: Columns, y: FloatArray) -> GradientBoostingRegressor | DummyRegressor:
    model = GradientBoostingRegressor(
        n_estimators=trees,
        learning_rate=0.1,
        max_depth=4,
        subsample=0.7,
        max_features=0.3,
        random_state=0,
    )
    return (model if len(y) > 1 else DummyRegressor()).fit(X, y)
