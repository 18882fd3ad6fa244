"""The predictor that chooses: members that can be fitted in time, weighted by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictors.ensemble import Ensemble
from predictors.features import Column, OneHot, checked
from predictors.held_out import folds_of
from predictors.pairs import PairRidge
from predictors.predictor import Predictor
from predictors.ridge import Ridge
from predictors.similarity import Similarity
from predictors.trees import Boosted
from predictors.weisfeiler_lehman import SubtreeProcess
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

SECONDS = 5.0


@dataclass(frozen=True)
class Candidate:
    """A predictor that may be a member, with the time of a fit.

    Attributes:
        predictor: The predictor.
        fixed: The seconds of a fit that do not depend on the number n of measurements.
        linear: The seconds of a fit by n.
        square: The seconds of a fit by n².
        cube: The seconds of a fit by n³.
        crossed: Whether a fit gives predictions of held-out measurements, so that one is enough.
    """

    predictor: Predictor
    fixed: float
    linear: float = 0.0
    square: float = 0.0
    cube: float = 0.0
    crossed: bool = False

    def seconds(self, count: int, *, folds: int) -> float:
        """The seconds of a fit to `count` measurements, with cross-validation over `folds`."""
        once = self.fixed + count * (self.linear + count * (self.square + count * self.cube))
        return once if self.crossed else once * (1 + folds)


class Auto:
    """An ensemble of the best predictors whose cross-validation takes no longer than allowed.

    Candidates are a ridge regression with pairs, boosted trees and a process over picks and
    subtrees of operators. They become members in this order as long as their estimated seconds fit
    into what is left; a plain ridge regression comes first where the ridge with pairs takes too
    long. `Ensemble` weights the members. The estimates are those of one core of a server processor.
    No clock is read, since a resumed search must find the same predictor again.

    Args:
        space: The space of the genotypes.
        columns: Further features of genotypes.
        seconds: The time of a fit, in seconds.

    Attributes:
        members: The members, after `fit`.
        shares: Their weights, after `fit`, `(members,)`.

    Raises:
        ValueError: If `seconds` is not above 0.
    """

    def __init__(
        self, space: SearchSpace, columns: Sequence[Column] = (), *, seconds: float = SECONDS
    ) -> None:
        if not seconds > 0:
            raise ValueError(f"a predictor needs a time above 0 seconds, given {seconds}")
        self.seconds = seconds
        features = OneHot(space, extra=columns)
        self._plain = Ridge(features.compact)
        self._candidates = (
            Candidate(PairRidge(features.compact), 2e-3, cube=7e-10),
            Candidate(Boosted(features), 0.18, linear=4e-4, crossed=True),
            Candidate(SubtreeProcess(Similarity(space, columns)), 1.5e-2, square=1e-6),
        )

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Choose members, weight them by cross-validation and fit them to all measurements.

        Args:
            genotypes: `(n, choices)`, canonical.
            losses: `(n,)`, finite.
        """
        losses = checked(genotypes, losses)
        self.members = self._in_time(len(losses), folds=int(folds_of(genotypes).max()) + 1)
        self._mixed = Ensemble(self.members)
        self._mixed.fit(genotypes, losses)
        self.shares = self._mixed.shares

    def _in_time(self, count: int, *, folds: int) -> tuple[Predictor, ...]:
        """The candidates that fit into the time; boosted trees and ridge if fewer than two do."""
        left = self.seconds
        chosen: list[Predictor] = []
        for candidate in self._candidates:
            needed = candidate.seconds(count, folds=folds)
            if needed <= left:
                chosen.append(candidate.predictor)
                left -= needed
        return tuple(chosen) if len(chosen) > 1 else (self._plain, self._candidates[1].predictor)

    def held_out(self) -> tuple[FloatArray, FloatArray]:
        """The mean and the deviation of each measurement when held out, each `(n,)`."""
        return self._mixed.held_out()

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean and the standard deviation of the mixture, each `(n,)`."""
        return self._mixed.predict(genotypes)


def auto(space: SearchSpace, columns: Sequence[Column] = ()) -> Auto:
    """The predictor that chooses its members, over the picks in a space and further columns."""
    return Auto(space, columns)
