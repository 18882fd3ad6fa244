"""Costs of whole networks as sums over picked options, fitted to measured networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

PENALTIES = np.logspace(-4, 2, 13)


class Additive:
    """A ridge regression of several costs on the picked options; closed choices do not count.

    The penalty of each cost is that of `PENALTIES` with the smallest exact leave-one-out error.

    Args:
        space: The space.
        genotypes: Canonical genotypes, `(n, choices)`.
        values: The costs of each genotype, `(n, outputs)`.

    Attributes:
        left_out_error: Root mean squared error of predicting a genotype from all others,
            `(outputs,)`, in the unit of the cost.
    """

    def __init__(self, space: SearchSpace, genotypes: IntArray, values: FloatArray) -> None:
        self._space = space
        self._offsets = np.concatenate([[0], np.cumsum(space.counts)[:-1]]).astype(np.int64)
        self._class = _classes(space)
        picked = self._picked(genotypes)
        center, level = picked.mean(axis=0), values.mean(axis=0)
        U, s, Vt = np.linalg.svd(picked - center, full_matrices=False)
        kept = s > 1e-9 * s.max(initial=1.0)
        U, s, Vt = U[:, kept], s[kept], Vt[kept]
        projected = U.T @ (values - level)
        errors, weights = [], []
        for penalty in PENALTIES:
            shrink = s**2 / (s**2 + penalty)
            residual = values - level - U @ (shrink[:, None] * projected)
            free = 1 - (U**2) @ shrink - 1 / len(values)
            errors.append((residual / np.maximum(free, 1e-6)[:, None]) ** 2)
            weights.append(Vt.T @ ((shrink / s)[:, None] * projected))
        squared = np.mean(errors, axis=1)
        best, output = squared.argmin(axis=0), np.arange(values.shape[1])
        self.left_out_error = np.sqrt(squared[best, output])
        self._weights = np.array(weights)[best, :, output].T
        self._level = level - center @ self._weights

    def parts(self, genotypes: IntArray) -> FloatArray:
        """The predicted costs, split by class of options, `(n, outputs, classes)`.

        Choices with the same options share a class per option. The constant of the regression is
        divided equally among the classes.
        """
        classes = int(self._class.max(initial=0)) + 1
        picked = self._picked(genotypes)
        parts = [
            picked[:, c] @ self._weights[c] for c in self._class == np.arange(classes)[:, None]
        ]
        return np.stack(parts, axis=2) + (self._level / classes)[:, None]

    def _picked(self, genotypes: IntArray) -> FloatArray:
        """The one-hot columns `(n, options)` of all choices; zeros where a choice is closed."""
        result = np.zeros((len(genotypes), int(self._space.counts.sum())))
        is_open = self._space.active_array(genotypes)
        np.put_along_axis(result, genotypes + self._offsets, is_open, axis=1)
        return result


def _classes(space: SearchSpace) -> NDArray[np.int64]:
    """The number of the class of every option, `(options,)`."""
    numbers: dict[tuple[str, int], int] = {}
    return np.array(
        [
            numbers.setdefault((repr(made.options), index), len(numbers))
            for made in space.choices
            for index in range(len(made.options))
        ],
        dtype=np.int64,
    )
