"""Figures of networks without a row, from those that have one."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from predictors.features import OneHot
from predictors.rank import kendall_tau
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
_TREES = 100
_LEAST_ROWS = 10


class Surrogate:
    """Extremely randomised trees (Geurts et al. 2006) on the picks, fitted when first asked.

    Each tree grows on its own draw of the rows with replacement, so that the rows it did not draw
    tell how far predictions are off. The same rows give the same trees.

    Args:
        space: The space of the genotypes.
        rows: Genotypes with a figure, `(n, choices)`.
        figures: Of these, `(n,)`.

    Raises:
        ValueError: There are fewer rows than anything can be told from.
    """

    def __init__(self, space: SearchSpace, rows: IntArray, figures: FloatArray) -> None:
        if len(rows) < _LEAST_ROWS:
            raise ValueError(
                f"a surrogate needs at least {_LEAST_ROWS} rows with a figure, given {len(rows)}"
            )
        self._features = OneHot(space)
        self._rows = rows
        self._figures = figures

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The predicted figure of canonical genotypes, `(n,)`."""
        return np.asarray(self._trees.predict(self._features(genotypes)), dtype=np.float64)

    @property
    def note(self) -> str:
        """What it is and how good, in words."""
        out_of_bag = np.asarray(self._trees.oob_prediction_)
        tau = kendall_tau(out_of_bag, self._figures)
        error = float(np.abs(out_of_bag - self._figures).mean())
        return (
            f"predicted by {_TREES} extra-trees fitted on {len(self._rows):,} rows; on rows that a "
            f"tree was not fitted on, Kendall tau {tau:.2f} and mean absolute error {error:.3g}"
        )

    @cached_property
    def _trees(self) -> ExtraTreesRegressor:
        trees = ExtraTreesRegressor(
            _TREES, max_features=1 / 3, random_state=0, bootstrap=True, oob_score=True
        )
        return trees.fit(self._features(self._rows), self._figures)
