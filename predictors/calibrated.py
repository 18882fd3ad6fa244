"""A predictor whose deviations are repaired by the errors on measurements that were held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictors.features import checked, require_genotypes
from predictors.held_out import CrossFitted, Refitting, fitted
from predictors.predictor import Predictor
from predictors.warp import Warp
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

LEVEL = 0.9
"""The share of new measurements that an interval shall hold."""
REACH = 1.6448536269514722
"""The deviations on either side of the mean of a normal law between which `LEVEL` of it lies."""
_SHARES = np.linspace(0.3, 0.9, 7)


class Calibrated:
    """A predictor with a repaired deviation: mean ± 1.645 deviations holds 90 % of measurements.

    The wrapped predictor learns the losses after a `Warp`, and its predictions are mapped back to
    the unit of the loss: the mean is then the median loss. Five-fold cross-validation tells the
    errors on measurements that were held out. From these follow two numbers. The first is a share
    s, by likelihood: the variance of an error is taken as proportional to `(1 - s) d² + s m`, where
    d is the deviation of the wrapped predictor and m the mean of its square. A predictor that knows
    well where it errs gets a small share, but at least 0.3: the best networks are those that are
    predicted too high, and intervals that are tight around them would miss them. The second is the
    factor of this deviation so that 90 % of the errors lie within 1.645 deviations (split conformal
    prediction with normalised errors, Lei et al. 2018, section 5.2, over all folds as in Vovk 2015,
    cross-conformal predictors).

    Beyond 500 measurements, one fold of five is held out, so that a fit costs at most twice that of
    the wrapped predictor. With fewer than four distinct networks, the deviation of the wrapped
    predictor is left as it is. If all errors are zero, as for equal losses, so is the deviation.

    Args:
        space: The space of the genotypes.
        member: The wrapped predictor.

    Attributes:
        share: The share s, after `fit`.
        factor: The factor, after `fit`, in the unit of the loss.
    """

    def __init__(self, space: SearchSpace, member: Predictor) -> None:
        self.space = space
        self.member = member

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        """Learn from canonical `genotypes` `(n, choices)` and their finite `losses` `(n,)`.

        Raises:
            ValueError: If there is not one loss per genotype, there is none, or one is not finite;
                if a genotype is none of the space.
        """
        losses = checked(genotypes, losses)
        require_genotypes(self.space, genotypes)
        self._inner = _warped(self.member)
        mean, spread = fitted(self._inner, genotypes, losses)
        judged = np.isfinite(mean)
        self._scaled = bool(judged.any())
        if self._scaled:
            self._repair(np.abs(losses - mean)[judged], spread[judged])

    def _repair(self, errors: FloatArray, spread: FloatArray) -> None:
        self._unit = float(np.sqrt(np.mean(spread**2))) or 1.0
        self.share = min(_SHARES, key=lambda share: self._misfit(share, errors, spread))
        if not spread.any():
            self.share = 1.0
        scores = errors / self._mixed(self.share, spread)
        level = min(1.0, LEVEL * (len(errors) + 1) / len(errors))
        self.factor = float(np.quantile(scores, level)) / REACH

    def _mixed(self, share: float, spread: FloatArray) -> FloatArray:
        """The deviation before the factor, without a unit, `(n,)`."""
        return np.sqrt((1 - share) * np.maximum(spread / self._unit, 1e-6) ** 2 + share)

    def _misfit(self, share: float, errors: FloatArray, spread: FloatArray) -> float:
        """Twice the mean negative log likelihood of `errors`, with the best factor."""
        mixed = self._mixed(share, spread)
        scale = max(float(np.mean((errors / mixed) ** 2)), 1e-300)
        return float(np.log(scale) + 2 * np.log(mixed).mean())

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The median and the repaired deviation of a new measurement of the loss, each `(n,)`.

        Raises:
            ValueError: If a genotype is none of the space.
        """
        require_genotypes(self.space, genotypes)
        mean, spread = self._inner.predict(genotypes)
        return mean, self.factor * self._mixed(self.share, spread) if self._scaled else spread


class _Warped:
    """A predictor that learns losses after a `Warp`, and predicts in the unit of the loss."""

    def __init__(self, member: Predictor) -> None:
        self._member = member

    def fit(self, genotypes: IntArray, losses: FloatArray) -> None:
        self._warp = Warp(losses)
        self._member.fit(genotypes, self._warp(losses))

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        return self._back(*self._member.predict(genotypes))

    def _back(self, mean: FloatArray, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
        median, below = self._warp.back(mean, spread)
        above = self._warp.back(mean + spread, spread)[0] - median
        return median, (below + above) / 2


class _CrossWarped(_Warped):
    """The same of a predictor whose fit gives predictions of held-out measurements."""

    _member: CrossFitted

    def held_out(self) -> tuple[FloatArray, FloatArray]:
        return self._back(*self._member.held_out())


class _RefittedWarped(_Warped):
    """The same of a predictor that can be refitted."""

    _member: Refitting

    def refitted(self, genotypes: IntArray, losses: FloatArray) -> _Warped:
        warp = Warp(losses)
        other = _Warped(self._member.refitted(genotypes, warp(losses)))
        other._warp = warp
        return other


def _warped(member: Predictor) -> _Warped:
    """The predictor, learning losses after a `Warp`, with the abilities that it has."""
    if isinstance(member, CrossFitted):
        return _CrossWarped(member)
    return _RefittedWarped(member) if isinstance(member, Refitting) else _Warped(member)
