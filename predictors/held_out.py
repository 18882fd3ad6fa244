"""Predictions of measurements by predictors that were fitted without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictors.predictor import Predictor
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]

FOLDS = 5


def sorted_by_genotype(genotypes: IntArray, losses: FloatArray) -> tuple[IntArray, FloatArray]:
    """The measurements in lexicographic order, so that the order of measuring has no influence."""
    order = np.lexsort((losses, *np.asarray(genotypes).T[::-1]))
    return np.asarray(genotypes)[order], losses[order]


def folds_of(genotypes: IntArray, *, folds: int = FOLDS) -> NDArray[np.int64]:
    """The fold of each measurement, `(n,)`; measurements of the same network share a fold.

    There are as many folds as distinct networks if these are fewer than `folds`.

    Args:
        genotypes: The measured genotypes, `(n, choices)`, sorted.
        folds: The largest number of folds.
    """
    distinct, network = np.unique(genotypes, axis=0, return_inverse=True)
    drawn = np.random.default_rng(0).permutation(len(distinct)) % min(folds, len(distinct))
    return drawn[network.ravel()]


def held_out(
    predictor: Predictor, genotypes: IntArray, losses: FloatArray, *, folds: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """The mean and the deviation that `predictor` predicts for each measurement, each `(n,)`.

    For each fold, the predictor is fitted to all other folds. Afterwards, the predictor is that of
    the last fold.

    Args:
        predictor: The predictor.
        genotypes: The measured genotypes, `(n, choices)`.
        losses: Their losses, `(n,)`.
        folds: The fold of each measurement, `(n,)`, from `folds_of`; -1 for a measurement that is
            never held out, whose prediction is then NaN.
    """
    mean, spread = np.full((2, len(losses)), np.nan)
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        predictor.fit(genotypes[~out], losses[~out])
        mean[out], spread[out] = predictor.predict(genotypes[out])
    return mean, spread
