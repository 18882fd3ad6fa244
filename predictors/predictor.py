"""What a learned predictor is."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer]


class Predictor(Protocol):
    """Learns a loss from measured genotypes, `(n, choices)`, and predicts it with uncertainty."""

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn `losses` `(n,)` of `genotypes` `(n, choices)`; forgets what was before."""
        ...

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of the loss, each `(n,)`."""
        ...
