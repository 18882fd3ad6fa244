"""The protocol of learned predictors of a subnet's loss."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer]


class Predictor(Protocol):
    """A model that learns the loss of measured genotypes and predicts that of others.

    Genotypes are rows of option indices, `(n, choices)`, in canonical form.
    """

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn the finite `losses` `(n,)` of `genotypes` `(n, choices)`.

        An earlier fit is forgotten.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite.
        """
        ...

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The predicted mean and standard deviation of the loss, each `(n,)`."""
        ...
