"""Predictions of measurements by predictors that were fitted without them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from predictors.predictor import Predictor
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]

FOLDS = 5
_FEWEST = 4  # distinct networks, below which nothing is held out
MANY = 500  # measurements, beyond which one fold tells enough


@runtime_checkable
class CrossFitted(Predictor, Protocol):
    """A predictor whose fit gives predictions of held-out measurements at no further cost."""

    def held_out(self) -> tuple[FloatArray, FloatArray]:
        """The mean and the deviation of each measurement of the last fit, each `(n,)`.

        They are predicted by models that were fitted without the measurement; NaN for those that
        all models were fitted to.
        """
        ...


@runtime_checkable
class Refitting(Predictor, Protocol):
    """A predictor that, once fitted, is fitted to some of the measurements in less time."""

    def refitted(self, genotypes: IntArray, losses: FloatArray) -> Predictor:
        """Another predictor, fitted to `losses` `(n,)` of `genotypes` `(n, choices)`.

        Its fit begins where the last fit of this one ended, and changes nothing of this one.
        """
        ...


def sorted_by_genotype(genotypes: IntArray, losses: FloatArray) -> NDArray[np.int64]:
    """The lexicographic order of measurements, `(n,)`, which does not depend on when they came."""
    return np.lexsort((losses, *np.asarray(genotypes).T[::-1]))


def folds_of(
    genotypes: IntArray, *, folds: int = FOLDS, many: int | None = MANY
) -> NDArray[np.int64]:
    """The fold of each measurement, `(n,)`; measurements of the same network share a fold.

    There are as many folds as distinct networks if these are fewer than `folds`. Measurements with
    fold -1 are never held out: all if there are fewer than four distinct networks, and all but
    those of the first fold if there are more than `many` measurements.

    Args:
        genotypes: The measured genotypes, `(n, choices)`.
        folds: The largest number of folds.
        many: The number of measurements beyond which one fold is held out; None for all folds.
    """
    distinct, network = np.unique(genotypes, axis=0, return_inverse=True)
    if len(distinct) < _FEWEST:
        return np.full(len(genotypes), -1)
    drawn = np.random.default_rng(0).permutation(len(distinct)) % min(folds, len(distinct))
    found = drawn[network.ravel()]
    return found if many is None or len(found) <= many else np.where(found == 0, 0, -1)


def fitted(
    predictor: Predictor, genotypes: IntArray, losses: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fit a predictor; the mean and the deviation of each held-out measurement, each `(n,)`.

    NaN for a measurement that is not held out.

    Args:
        predictor: The predictor.
        genotypes: The measured genotypes, `(n, choices)`.
        losses: Their losses, `(n,)`.
    """
    if isinstance(predictor, CrossFitted):
        predictor.fit(genotypes, losses)
        return predictor.held_out()
    if isinstance(predictor, Refitting):
        predictor.fit(genotypes, losses)
    folds = folds_of(genotypes)
    mean, spread = np.full((2, len(losses)), np.nan)
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        apart = _learned(predictor, genotypes[~out], losses[~out])
        mean[out], spread[out] = apart.predict(genotypes[out])
    if not isinstance(predictor, Refitting):
        predictor.fit(genotypes, losses)
    return mean, spread


def _learned(predictor: Predictor, genotypes: IntArray, losses: FloatArray) -> Predictor:
    """A predictor fitted to some of the measurements; the same one if it cannot be refitted."""
    if isinstance(predictor, Refitting):
        return predictor.refitted(genotypes, losses)
    predictor.fit(genotypes, losses)
    return predictor
