"""What a predictor sees of a genotype: its picks, one-hot and ordinal, and extra columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
Column = Callable[[IntArray], FloatArray]

_REFERENCE_ROWS = 2048


class OneHot:
    """Features of genotypes: `(n, choices)` in, `(n, columns)` float32 out.

    Per choice one column per option, all zero where the choice is closed, then one ordinal column:
    the option's index plus one over the number of options, zero where closed. Options ascend in
    cost, so the ordinal column says how much of a choice is picked. Then the extra columns,
    standardised over a fixed sample of the space.

    Args:
        space: The space the genotypes are of.
        extra: Further columns, each `(n, choices)` to `(n,)`: log costs, proxy scores, sums of
            sensitivities. Infinite values stand at the largest finite one of the sample.
    """

    def __init__(self, space: SearchSpace, extra: Sequence[Column] = ()) -> None:
        self.space = space
        self._extra = tuple(extra)
        self._offsets = np.concatenate([[0], np.cumsum(space.counts)[:-1]]).astype(np.int64)
        self._options = int(space.counts.sum())
        choices = np.arange(len(space.choices))
        self.one_hot_choice = np.repeat(choices, space.counts)
        self.columns = self._options + len(choices) + len(self._extra)
        rows = space.sample_array(np.random.default_rng(0), _REFERENCE_ROWS)
        self._scales = [_scale(column(rows)) for column in self._extra]

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """The columns of the one-hot, the ordinal and the extra part."""
        ordinal = self._options + len(self.space.choices)
        return slice(0, self._options), slice(self._options, ordinal), slice(ordinal, self.columns)

    def __call__(self, genotypes: IntArray) -> NDArray[np.float32]:
        """The features of `genotypes`, which must be canonical."""
        result = np.zeros((len(genotypes), self.columns), dtype=np.float32)
        is_open = self.space.active_array(genotypes)
        index = genotypes + self._offsets + (np.arange(len(genotypes)) * self.columns)[:, None]
        np.put(result, index, is_open)
        _, ordinal, extra = self.parts
        result[:, ordinal] = (genotypes + 1) * is_open / self.space.counts
        for position, (column, (low, mean, high, scale)) in enumerate(
            zip(self._extra, self._scales, strict=True), start=extra.start
        ):
            result[:, position] = (np.clip(column(genotypes), low, high) - mean) / scale
        return result


def _scale(values: FloatArray) -> tuple[float, float, float, float]:
    """Least allowed value, mean, greatest allowed value and spread of a column."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise ValueError(
            "an extra feature column is infinite or NaN on every sampled genotype; "
            "leave the column out"
        )
    mean, spread = float(finite.mean()), float(finite.std())
    reach = 2 * (float(finite.max()) - float(finite.min())) + 1e-9
    return mean - reach, mean, mean + reach, spread or 1.0


def checked(genotypes: IntArray, losses: FloatArray) -> FloatArray:
    """`losses` as float64, or an error that says why nothing can be learned from them."""
    losses = np.asarray(losses, dtype=np.float64)
    if losses.shape != (len(genotypes),) or not len(losses):
        raise ValueError(
            f"a predictor needs one loss per genotype and at least one, given {losses.shape} "
            f"losses for {len(genotypes)} genotypes"
        )
    if not np.isfinite(losses).all():
        first = int(np.flatnonzero(~np.isfinite(losses))[0])
        raise ValueError(
            f"a predictor learns finite losses only, given {losses[first]} for genotype "
            f"{tuple(np.asarray(genotypes)[first].tolist())}; leave diverged evaluations out"
        )
    return losses
