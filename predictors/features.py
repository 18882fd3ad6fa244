"""What a predictor sees of a genotype: its picks, one-hot and ordinal, and extra columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
Column = Callable[[IntArray], FloatArray]

_REFERENCE_ROWS = 2048


class OneHot:
    """Features of genotypes: `(n, choices)` in, `(n, columns)` float32 out.

    Three parts. One column per option of each choice, all zero where the choice is closed. One
    ordinal column per choice: the option's index plus one over the number of options, zero where
    closed; options ascend in cost, so it says how much of the choice is picked. Then standardised
    columns: sums over choices of one kind, and whatever else is given.

    Kinds are read off names: `stage1.block0.kernel` is one of `stage1.block#.kernel` and of
    `stage#.block#.kernel`. Each kind adds the sum of its ordinal columns, the widest kinds also
    how often each option is picked. Few measurements tell much about a kind, little about a choice.

    Args:
        space: The space the genotypes are of.
        extra: Further columns, each `(n, choices)` to `(n,)`: log costs, proxy scores, sums of
            sensitivities. Infinite values stand at a finite one beyond those of the space.
    """

    def __init__(self, space: SearchSpace, extra: Sequence[Column] = ()) -> None:
        self.space = space
        self._extra = tuple(extra)
        self._offsets = np.concatenate([[0], np.cumsum(space.counts)[:-1]]).astype(np.int64)
        self._options = int(space.counts.sum())
        self.one_hot_choice = np.repeat(np.arange(len(space.choices)), space.counts)
        self._sums = _sums_over_kinds(space, self._offsets)
        self._picks = self._options + len(space.choices)
        self.columns = self._picks + self._sums.shape[1] + len(self._extra)
        rows = space.sample_array(np.random.default_rng(0), _REFERENCE_ROWS)
        sums = self._encode(rows)[:, : self._picks] @ self._sums
        self._center = sums.mean(axis=0)
        self._spread = np.where(np.ptp(sums, axis=0) > 0, sums.std(axis=0), 1)
        self._scales = [_scale(column(rows)) for column in self._extra]

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """The columns of the one-hot, the ordinal and the standardised part."""
        return (
            slice(0, self._options),
            slice(self._options, self._picks),
            slice(self._picks, self.columns),
        )

    def __call__(self, genotypes: IntArray) -> NDArray[np.float32]:
        """The features of `genotypes`, which must be canonical."""
        result = self._encode(genotypes)
        first = self._picks + self._sums.shape[1]
        sums = result[:, : self._picks] @ self._sums
        result[:, self._picks : first] = (sums - self._center) / self._spread
        for position, (column, scale) in enumerate(
            zip(self._extra, self._scales, strict=True), start=first
        ):
            low, mean, high, spread = scale
            result[:, position] = (np.clip(column(genotypes), low, high) - mean) / spread
        return result

    def _encode(self, genotypes: IntArray) -> NDArray[np.float32]:
        """One-hot and ordinal columns, the others still zero."""
        result = np.zeros((len(genotypes), self.columns), dtype=np.float32)
        is_open = self.space.active_array(genotypes)
        index = genotypes + self._offsets + (np.arange(len(genotypes)) * self.columns)[:, None]
        np.put(result, index, is_open)
        result[:, self._options : self._picks] = (genotypes + 1) * is_open / self.space.counts
        return result


def _sums_over_kinds(space: SearchSpace, offsets: IntArray) -> NDArray[np.float32]:
    """The matrix `(one-hot and ordinal columns, sums)` that adds up the choices of each kind."""
    options = int(space.counts.sum())
    sums: list[NDArray[np.float32]] = []
    narrow, wide = _kinds(space)
    for members in dict.fromkeys([*wide, *narrow]):
        column = np.zeros(options + len(space.choices), dtype=np.float32)
        column[[options + member for member in members]] = 1
        sums.append(column)
    for members in wide:
        for option in range(max(int(space.counts[member]) for member in members)):
            column = np.zeros(options + len(space.choices), dtype=np.float32)
            column[[offsets[m] + option for m in members if option < space.counts[m]]] = 1
            sums.append(column)
    width = options + len(space.choices)  # there may be no sums at all
    return np.array(sums, dtype=np.float32).reshape(len(sums), width).T


def _kinds(space: SearchSpace) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Groups of choices whose names differ only in their last numbers, and in any numbers.

    Groups of one choice are left out: they say nothing new.
    """
    narrow: dict[str, list[int]] = {}
    wide: dict[str, list[int]] = {}
    for position, made in enumerate(space.choices):
        numbers = len(re.findall(r"\d+", made.name))
        wide.setdefault(_blanked(made.name, keep=0), []).append(position)
        for keep in range(1, numbers):
            narrow.setdefault(_blanked(made.name, keep=keep), []).append(position)
    return _several(narrow), _several(wide)


def _blanked(name: str, *, keep: int) -> str:
    """`name` with all but its first `keep` numbers replaced by a sign."""
    pieces = re.split(r"(\d+)", name)
    return "".join("#" if i % 2 and i // 2 >= keep else piece for i, piece in enumerate(pieces))


def _several(kinds: dict[str, list[int]]) -> list[tuple[int, ...]]:
    return [tuple(members) for members in kinds.values() if len(members) > 1]


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
