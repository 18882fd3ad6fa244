"""Proxy values of whole populations, estimated from the values of a few networks.

A proxy takes a tenth of a second per network, and a search needs the values of a million. A ridge
regression per proxy is fast enough. It also turns proxies into features of a predictor:
`OneHot(space, estimate.columns)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictors.ridge import Features, Ridge
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]


class ProxyEstimate:
    """Estimates of proxy values by one ridge regression per proxy.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, such as
            `OneHot(space)`.
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        self._models: dict[str, Ridge] = {}

    def fit(self, genotypes: IntArray, scores: Mapping[str, FloatArray]) -> Self:
        """Learn the scores of some genotypes and return this object.

        An infinite score is replaced by the largest or smallest finite score. A proxy without a
        finite score is left out.

        Args:
            genotypes: `(n, choices)`, canonical.
            scores: Name of a proxy -> scores of the genotypes, `(n,)`.
        """
        self._models = {}
        for name, values in scores.items():
            finite = np.asarray(values, dtype=np.float64)
            finite = finite[np.isfinite(finite)]
            if len(finite):
                self._models[name] = Ridge(self.features)
                self._models[name].fit(genotypes, np.clip(values, finite.min(), finite.max()))
        return self

    @property
    def columns(self) -> tuple[Callable[[IntArray], FloatArray], ...]:
        """One function per proxy: genotypes `(n, choices)` to estimated scores `(n,)`."""
        return tuple(_mean_of(model) for model in self._models.values())

    def __call__(self, genotypes: IntArray) -> dict[str, FloatArray]:
        """The estimated scores `(n,)` of `genotypes` `(n, choices)`, by name of the proxy."""
        return {name: model.predict(genotypes)[0] for name, model in self._models.items()}


def _mean_of(model: Ridge) -> Callable[[IntArray], FloatArray]:
    return lambda genotypes: model.predict(genotypes)[0]
