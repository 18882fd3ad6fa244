"""A predictor of several models, each fitted without one fold of the measurements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from predictors.features import checked
from predictors.held_out import folds_of, sorted_by_genotype
from predictors.ridge import Features
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]
Columns = NDArray[np.float32]
Models = Callable[[Columns], FloatArray]
Learner = Callable[[Columns, FloatArray, NDArray[np.bool_]], Models]


class Folded:
    """A predictor that is the mean of five models, each fitted to four fifths of the measurements.

    So each measurement is predicted by one model that was fitted without it, at no further cost.
    The predicted variance is the jackknife's, the variance between the models times one less than
    their number, and a constant, so that its mean is the mean squared error of predictions of
    held-out measurements. With fewer than four distinct networks, there is one model of all.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, such as
            `OneHot(space)`.
        learner: A function that fits the models. It takes features `(n, columns)` behind a
            constant column (a space of a single network has no others), standardised losses
            `(n,)`, and whether each model may learn a measurement, `(models, n)`. It returns a
            function of features to the predictions of each model, `(models, n)`.
    """

    def __init__(self, features: Features, learner: Learner) -> None:
        self.features = features
        self._learner = learner

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn from canonical `genotypes` `(n, choices)` and their finite `losses` `(n,)`.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite.
        """
        losses = checked(genotypes, losses)
        order = sorted_by_genotype(genotypes, losses)
        rows = np.asarray(genotypes)[order]
        X, folds = with_constant(self.features, rows), folds_of(rows, many=None)
        self._center, self._scale, y = standard(losses[order])
        models = np.unique(folds)
        # Of few networks, none is held out: the only fold is then -1.
        seen = (folds != models[:, None]) | (models[:, None] < 0)
        self._models = self._learner(X, y, seen)
        each = self._models(X)
        mean = each[np.searchsorted(models, folds), np.arange(len(y))]
        self._error = float(np.sqrt(np.mean((mean - y) ** 2)))
        self._constant = max(self._error**2 - float(_variance(each).mean()), 0.0)
        self._held_out = np.empty(len(y))
        self._held_out[order] = self._center + self._scale * np.where(folds < 0, np.nan, mean)

    def held_out(self) -> tuple[FloatArray, FloatArray]:
        """The mean and the deviation of each measurement when held out, each `(n,)`."""
        return self._held_out, np.full(len(self._held_out), self._scale * self._error)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean over the models and the standard deviation of the loss, each `(n,)`."""
        each = self._models(with_constant(self.features, genotypes))
        spread = np.sqrt(self._constant + _variance(each))
        return self._center + self._scale * each.mean(axis=0), self._scale * spread


def _variance(each: FloatArray) -> FloatArray:
    """The jackknife variance of the mean of `each` `(models, n)`, as `(n,)`."""
    return (len(each) - 1) * each.var(axis=0)


def with_constant(features: Features, genotypes: IntArray) -> Columns:
    """The features, behind a constant one: a space of a single network has no others."""
    return np.insert(features(genotypes), 0, 1.0, axis=1)


def standard(losses: FloatArray) -> tuple[float, float, FloatArray]:
    """The mean and the deviation of losses, and the standardised losses.

    These are rounded, so that equal losses stay equal in another unit.
    """
    center, scale = float(losses.mean()), float(losses.std()) or 1.0
    return center, scale, ((losses - center) / scale).round(9)
