"""The features of a genotype for a predictor: its picks, one-hot and ordinal, and extra columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.order import LogCost, ranks_by_cost
from predictors.ways import Ways
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]
Column = Callable[[IntArray], FloatArray]

_REFERENCE_ROWS = 2048


class OneHot:
    """The features of genotypes: called with `(n, choices)`, returns `(n, columns)` as float32.

    The columns have three parts:

    - One-hot: one column per option of each choice; all are zero where the choice is closed.
    - Ordinal: one column per choice, `(rank of the option + 1) / (number of options)`; zero where
      the choice is closed. Ranks ascend in the costs among the extra columns (`LogCost`), so a
      larger value is a more expensive pick; without such a column, options count as ascending.
    - Standardised: sums over choices of one kind, the columns of `Ways`, and the extra columns.

    The kind of a choice follows from its name: `stage1.block0.kernel` belongs to the kinds
    `stage1.block#.kernel` and `stage#.block#.kernel`. Choices whose names have no such kind are of
    one kind if they have equal options, in any order. Each kind adds one column, the sum of its
    ordinal columns. The widest kinds also add one column per option: how many choices pick it. A
    few measurements tell much about a kind of choice, but little about a single one.

    Args:
        space: The space of the genotypes.
        extra: Functions for further columns, each `(n, choices)` to `(n,)`: logarithms of costs,
            proxy scores, sums of sensitivities. Infinite values are replaced by a finite value
            beyond those of the space.

    Attributes:
        columns: The number of feature columns.
        one_hot_choice: The position of the choice of each one-hot column, `(options,)`.
        expansion: The matrix `(dummies, columns)` that turns `dummies` into features.

    Raises:
        ValueError: If an extra column is finite for no sampled genotype.
    """

    def __init__(self, space: SearchSpace, extra: Sequence[Column] = ()) -> None:
        self.space = space
        self._ways = Ways(space)
        self._extra = tuple(extra)
        self._added = self._ways.columns + len(self._extra)
        offsets = np.concatenate([[0], np.cumsum(space.counts)[:-1]]).astype(np.int64)
        self._options = int(space.counts.sum())
        self.one_hot_choice = np.repeat(np.arange(len(space.choices)), space.counts)
        option = np.arange(self._options) - offsets[self.one_hot_choice]
        self._later = np.flatnonzero(option)
        self._later_choice = self.one_hot_choice[self._later]
        self._later_option = option[self._later].astype(np.int16)
        self._rules = int(space.openings.rule.max(initial=0)) + 1
        known = [column for column in self._extra if isinstance(column, LogCost)]
        ranks = ranks_by_cost(space, known)
        self._ranks = np.concatenate([*ranks, np.empty(0, dtype=np.int64)])
        sums = _sums_over_kinds(space, offsets, ranks)
        self._picks = self._options + len(space.choices)
        self.columns = self._picks + sums.shape[1] + self._added
        rows = space.sample_array(np.random.default_rng(0), _REFERENCE_ROWS)
        self._scales = [_scale(values) for values in self._more(rows)]
        self.expansion = self._expansion(offsets, sums, self.dummies(rows))

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """The columns of the one-hot part, the ordinal part and the standardised part."""
        return (
            slice(0, self._options),
            slice(self._options, self._picks),
            slice(self._picks, self.columns),
        )

    def __call__(self, genotypes: IntArray) -> NDArray[np.float32]:
        """The features of `genotypes` `(n, choices)`, which must be canonical: `(n, columns)`."""
        return self.dummies(genotypes) @ self.expansion

    def compact(self, genotypes: IntArray) -> NDArray[np.float32]:
        """The features of canonical `genotypes`, rotated into fewer columns.

        The scalar product of every two rows is that of their features.
        """
        return self.dummies(genotypes) @ self._turned

    @cached_property
    def _turned(self) -> NDArray[np.float32]:
        return rotated(self.expansion)

    def dummies(self, genotypes: IntArray) -> NDArray[np.float32]:
        """Few columns that determine all features: `dummies @ expansion` are the features.

        The columns, `(n, dummies)`, are: for each rule that opens choices, whether it holds (the
        first rule always does); for each option but the first of a choice, whether it is picked;
        then the columns of `Ways` and the extra columns, standardised.
        """
        picks = genotypes.T.astype(np.int16)
        first = self._rules + len(self._later)
        result = np.empty((first + self._added, len(genotypes)), dtype=np.float32)
        result[: self._rules] = self.space.openings(genotypes)
        result[self._rules : first] = picks[self._later_choice] == self._later_option[:, None]
        scaled = zip(result[first:], self._more(genotypes), self._scales, strict=True)
        for row, values, (low, mean, high, spread) in scaled:
            row[:] = (np.clip(values, low, high) - mean) / spread
        return result.T

    def _more(self, genotypes: IntArray) -> Iterator[FloatArray]:
        """The columns that are no sums of picks, `(n,)` each: those of `Ways`, then the extra."""
        yield from self._ways(genotypes).T
        for column in self._extra:
            yield column(genotypes)

    def _expansion(
        self, offsets: IntArray, sums: NDArray[np.float32], dummies: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The matrix `(dummies, columns)` that turns dummies into features.

        Sums over kinds are standardised over the rows of `dummies`.
        """
        counts, rule = self.space.counts, self.space.openings.rule
        later = self._rules + np.arange(len(self._later))
        result = np.zeros((dummies.shape[1], self.columns))
        result[rule, offsets] = 1
        result[later, offsets[self._later_choice]] = -1
        result[later, self._later] = 1
        lowest = self._ranks[offsets[: len(counts)]]
        result[rule, self._options + np.arange(len(counts))] = (lowest + 1) / counts
        more = self._ranks[self._later] - lowest[self._later_choice]
        more = more / counts[self._later_choice]
        result[later, self._options + self._later_choice] = more
        first, last = self._picks, self.columns - self._added
        summed = result[:, :first] @ sums
        found = dummies @ summed
        summed[0] -= found.mean(axis=0)
        result[:, first:last] = summed / np.where(np.ptp(found, axis=0) > 0, found.std(axis=0), 1)
        result[self._rules + len(self._later) :, last:] = np.eye(self._added)
        return result.astype(np.float32)


def rotated(matrix: NDArray[np.floating]) -> NDArray[np.float32]:
    """A matrix with as few columns as possible whose rows have the scalar products of `matrix`."""
    triangle: Any = np.linalg.qr(matrix.T.astype(np.float64), mode="r")
    return triangle.T.astype(np.float32)


def _sums_over_kinds(
    space: SearchSpace, offsets: IntArray, ranks: Sequence[IntArray]
) -> NDArray[np.float32]:
    """The matrix `(one-hot and ordinal columns, sums)` that adds up choices of the same kind.

    Options of several choices are added up if they are equal, where all these choices have the
    same options; else if they have the same rank.
    """
    options = int(space.counts.sum())
    sums: list[NDArray[np.float32]] = []
    narrow, wide = _kinds(space)
    for members in dict.fromkeys([*wide, *narrow]):
        column = np.zeros(options + len(space.choices), dtype=np.float32)
        column[[options + member for member in members]] = 1
        sums.append(column)
    for members in wide:
        places = [_common_places(space, member, members[0], ranks) for member in members]
        for option in range(max(map(len, places))):
            column = np.zeros(options + len(space.choices), dtype=np.float32)
            pairs = zip(members, places, strict=True)
            column[[offsets[m] + place[option] for m, place in pairs if option < len(place)]] = 1
            sums.append(column)
    width = options + len(space.choices)  # there may be no sums at all
    return np.array(sums, dtype=np.float32).reshape(len(sums), width).T


def _common_places(
    space: SearchSpace, member: int, first: int, ranks: Sequence[IntArray]
) -> list[int]:
    """The positions of a choice's options in the order that choices of its kind share."""
    options, wanted = ([*space.choices[choice].options] for choice in (member, first))
    if len(options) == len(wanted) and all(option in options for option in wanted):
        return [options.index(option) for option in wanted]
    return np.argsort(ranks[member]).tolist()


def _kinds(space: SearchSpace) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The kinds of choices, as groups of positions: narrow kinds, then wide kinds.

    Names of a narrow kind differ only in their last numbers, names of a wide kind in any numbers.
    Choices that are alone in this are of one wide kind if they have equal options, in any order. A
    group of one choice is left out, since its sum would equal the column of that choice.
    """
    narrow: dict[str, list[int]] = {}
    wide: dict[str, list[int]] = {}
    for position, made in enumerate(space.choices):
        numbers = len(re.findall(r"\d+", made.name))
        wide.setdefault(_blanked(made.name, keep=0), []).append(position)
        for keep in range(1, numbers):
            narrow.setdefault(_blanked(made.name, keep=keep), []).append(position)
    named = {position for members in _several(wide) for position in members}
    alike: dict[frozenset[object], list[int]] = {}
    for position, made in enumerate(space.choices):
        if position not in named:
            alike.setdefault(frozenset(made.options), []).append(position)
    return _several(narrow), [*_several(wide), *_several(alike)]


def _blanked(name: str, *, keep: int) -> str:
    """The name of a choice with all numbers but the first `keep` replaced by `#`."""
    pieces = re.split(r"(\d+)", name)
    return "".join("#" if i % 2 and i // 2 >= keep else piece for i, piece in enumerate(pieces))


def _several(kinds: Mapping[Any, list[int]]) -> list[tuple[int, ...]]:
    return [tuple(members) for members in kinds.values() if len(members) > 1]


def _scale(values: FloatArray) -> tuple[float, float, float, float]:
    """The least allowed value, mean, greatest allowed value and standard deviation of a column."""
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
    """The losses as float64, once they are found fit to learn from.

    Raises:
        ValueError: If there is not one loss per genotype, there is none, or one is not finite.
    """
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


def require_genotypes(space: SearchSpace, genotypes: IntArray) -> None:
    """Refuse rows that are no genotypes of a space.

    Raises:
        ValueError: If there is not one pick per choice, or a pick is none of the options.
    """
    genotypes = np.asarray(genotypes)
    if genotypes.ndim != 2 or genotypes.shape[1] != len(space.choices):
        raise ValueError(
            f"genotypes of space {space.name!r} are rows of {len(space.choices)} option indices, "
            f"given an array of shape {genotypes.shape}"
        )
    wrong = (genotypes < 0) | (genotypes >= space.counts)
    if wrong.any():
        row, column = (int(index[0]) for index in np.nonzero(wrong))
        made = space.choices[column]
        raise ValueError(
            f"choice {made.name!r} has the options 0 to {len(made.options) - 1}, given option "
            f"{genotypes[row, column]} in genotype {tuple(genotypes[row].tolist())}"
        )
