"""A surrogate for a table: predicts the figures of networks without a row."""

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
    """A predictor of a figure from the picks: extremely randomised trees (Geurts et al. 2006).

    The trees are fitted at the first prediction. Each tree is fitted to a random draw of the rows
    with replacement; the rows that it did not draw measure its error. The same rows give the same
    trees.

    Args:
        space: The space of the genotypes.
        rows: Genotypes with a known figure, `(n, choices)`.
        figures: The figures of these genotypes, `(n,)`.

    Attributes:
        rows: The genotypes with a known figure.

    Raises:
        ValueError: If there are fewer than 10 rows.
    """

    def __init__(self, space: SearchSpace, rows: IntArray, figures: FloatArray) -> None:
        if len(rows) < _LEAST_ROWS:
            raise ValueError(
                f"a surrogate needs at least {_LEAST_ROWS} rows with a figure, given {len(rows)}"
            )
        self._features = OneHot(space)
        self.rows = rows
        self._figures = figures

    def __call__(self, genotypes: IntArray) -> FloatArray:
        """The predicted figure of canonical genotypes `(n, choices)`, as `(n,)`."""
        return np.asarray(self._trees.predict(self._features(genotypes)), dtype=np.float64)

    @property
    def note(self) -> str:
        """The kind of the predictor and its error, in words."""
        out_of_bag = np.asarray(self._trees.oob_prediction_)
        tau = kendall_tau(out_of_bag, self._figures)
        error = float(np.abs(out_of_bag - self._figures).mean())
        return (
            f"predicted by {_TREES} extra-trees fitted on {len(self.rows):,} rows; on rows that a "
            f"tree was not fitted on, Kendall tau {tau:.2f} and mean absolute error {error:.3g}"
        )

    @cached_property
    def _trees(self) -> ExtraTreesRegressor:
        trees = ExtraTreesRegressor(
            _TREES, max_features=1 / 3, random_state=0, bootstrap=True, oob_score=True
        )
        return trees.fit(self._features(self.rows), self._figures)
