"""Forests and boosted trees over the features of genotypes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor

from predictors.features import Column, OneHot, checked
from predictors.held_out import folds_of, sorted_by_genotype
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
        X = _columns(self.features, np.asarray(genotypes)[order])
        self._center, self._scale, y = _standard(losses[order])
        trees = ExtraTreesRegressor(_TREES, max_features=1 / 3, bootstrap=True, random_state=0)
        self._trees = trees.fit(X, y)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean over the trees and their standard deviation, each `(n,)`."""
        X = _columns(self.features, genotypes)
        each = np.array([tree.predict(X) for tree in self._trees.estimators_])
        return self._center + self._scale * each.mean(axis=0), self._scale * each.std(axis=0)


class Boosted:
    """Boosted trees (Friedman 2002), one model for each fold of the measurements.

    Each of five models is fitted to four fifths of the measurements, and the prediction is their
    mean. So each measurement is predicted by one model that was fitted without it, at no further
    cost. The predicted variance is the jackknife's, the variance between the models times one less
    than their number, and a constant, so that its mean is the mean squared error of predictions of
    held-out measurements.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, such as
            `OneHot(space)`.
        trees: The number of trees of a model.
    """

    def __init__(self, features: Features, *, trees: int = _TREES) -> None:
        self.features = features
        self._trees = trees

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn from canonical `genotypes` `(n, choices)` and their finite `losses` `(n,)`.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite.
        """
        losses = checked(genotypes, losses)
        order = sorted_by_genotype(genotypes, losses)
        rows = np.asarray(genotypes)[order]
        X, folds = _columns(self.features, rows), folds_of(rows, many=None)
        self._center, self._scale, y = _standard(losses[order])
        mean = np.empty(len(y))
        self._models: list[GradientBoostingRegressor | DummyRegressor] = []
        for fold in np.unique(folds):
            # Of few networks, none is held out: the only fold is then -1.
            seen, own = (folds != fold) | (fold < 0), folds == fold
            model = _boosted(self._trees) if seen.sum() > 1 else DummyRegressor()
            self._models.append(model.fit(X[seen], y[seen]))
            mean[own] = model.predict(X[own])
        self._error = float(np.sqrt(np.mean((mean - y) ** 2)))
        self._constant = max(self._error**2 - float(self._between(X)[1].mean()), 0.0)
        self._held_out = np.empty(len(y))
        self._held_out[order] = self._center + self._scale * np.where(folds < 0, np.nan, mean)

    def held_out(self) -> tuple[FloatArray, FloatArray]:
        """The mean and the deviation of each measurement when held out, each `(n,)`."""
        return self._held_out, np.full(len(self._held_out), self._scale * self._error)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean over the models and the standard deviation of the loss, each `(n,)`."""
        mean, variance = self._between(_columns(self.features, genotypes))
        spread = np.sqrt(self._constant + variance)
        return self._center + self._scale * mean, self._scale * spread

    def _between(self, X: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """The mean over the models and their jackknife variance, each `(n,)`."""
        each = np.array([model.predict(X) for model in self._models])
        return each.mean(axis=0), (len(each) - 1) * each.var(axis=0)


def forest(space: SearchSpace, columns: Sequence[Column] = ()) -> Forest:
    """A forest over the picks in a space and further columns."""
    return Forest(OneHot(space, extra=columns))


def boosted(space: SearchSpace, columns: Sequence[Column] = ()) -> Boosted:
    """Boosted trees over the picks in a space and further columns."""
    return Boosted(OneHot(space, extra=columns))


def _boosted(trees: int) -> GradientBoostingRegressor:
    return GradientBoostingRegressor(
        n_estimators=trees,
        learning_rate=0.1,
        max_depth=4,
        subsample=0.7,
        max_features=0.3,
        random_state=0,
    )


def _columns(features: Features, genotypes: IntArray) -> NDArray[np.float32]:
    """The features, behind a constant one: a space of a single network has no others."""
    return np.insert(features(genotypes), 0, 1.0, axis=1)


def _standard(losses: FloatArray) -> tuple[float, float, FloatArray]:
    """The mean and the deviation of losses, and the standardised losses.

    These are rounded, so that equal splits of a tree stay equal in another unit.
    """
    center, scale = float(losses.mean()), float(losses.std()) or 1.0
    return center, scale, ((losses - center) / scale).round(9)
