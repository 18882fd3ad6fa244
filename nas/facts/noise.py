"""How far a figure of some samples may be off: intervals, and tests of differences.

A figure of a network is the mean of its losses over the samples of a split. Other samples of the
same kind would give another figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.floating]
WRONG = 100.0
"""The loss of a wrong answer, where answers are only right or wrong: losses are in percent."""

CHANCE = 0.05
"""The p-value from which a difference may be chance alone; intervals leave out as much."""

FEW_SAMPLES = 250
"""The samples of a split below which its figures hardly tell networks apart."""

_DRAWS = 100
_MOST_NUMBERS = 5e8  # numbers that are read for one interval; more would take minutes


@dataclass(frozen=True)
class Interval:
    """The losses that the samples do not rule out, with a confidence of 95 %.

    Attributes:
        low: The lower end.
        high: The upper end.
        samples: The number of samples.
        wrong: The number of wrong answers, where answers are only right or wrong.
    """

    low: float
    high: float
    samples: int
    wrong: int | None = None


def interval_of(losses: Losses) -> Interval | None:
    """The interval of the mean of losses, `(n,)`; None for a single loss of any size.

    For answers that are right or wrong, the interval of Wilson (1927), which holds for few samples
    and for shares near 0 and 100 %; else that of Student's t distribution.
    """
    from scipy import stats  # takes a second to load, which no other step needs

    count = len(losses)
    if _right_or_wrong(losses):
        wrong = int((losses == WRONG).sum())
        found = stats.binomtest(wrong, count).proportion_ci(1 - CHANCE, method="wilson")
        return Interval(WRONG * float(found.low), WRONG * float(found.high), count, wrong)
    if count < 2:
        return None
    mean, deviation = float(losses.mean()), float(losses.std(ddof=1))
    reach = float(stats.t.ppf(1 - CHANCE / 2, count - 1)) * deviation / math.sqrt(count)
    return Interval(max(0.0, mean - reach), mean + reach, count)


def chance_of_equals(first: Losses, second: Losses) -> float | None:
    """The p-value of the difference of two networks on the samples that both were shown.

    It is the chance of so large a difference between networks that are equally good. For answers
    that are right or wrong, the exact test of McNemar (1947); else Student's test of pairs. None
    where no test can be made.

    Args:
        first: The losses of one network, `(n,)`.
        second: The losses of the other on the same samples, `(m,)`; the first samples of both are
            compared, as many as both have.
    """
    from scipy import stats

    seen = min(len(first), len(second))
    first, second = first[:seen], second[:seen]
    apart = first - second
    if not apart.any():
        return 1.0
    if _right_or_wrong(first) and _right_or_wrong(second):
        return float(stats.binomtest(int((apart > 0).sum()), int((apart != 0).sum())).pvalue)
    if seen < 2 or not float(apart.std()):
        return None
    _, chance = np.asarray(stats.ttest_1samp(apart, 0.0))
    return float(chance)


def chance_tau(count: int) -> float:
    """The size of Kendall's tau that chance alone exceeds in 5 % of rankings of `count` networks.

    The normal approximation of Kendall (1938): the variance is 2 (2n + 5) / 9n (n - 1). Infinite
    for fewer than two networks.
    """
    if count < 2:
        return math.inf
    return 1.96 * math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)))


def tau_interval(tau: float, count: int) -> tuple[float, float]:
    """The values of Kendall's tau that the ranking of `count` networks does not rule out.

    The confidence is 95 %. A pair of networks is ranked alike or not, so this is the interval of
    Wilson (1927) of a share, for as many independent pairs as give tau its variance by chance
    (Kendall 1938). It also holds for few networks and for a tau near 1.

    Args:
        tau: The tau of a sample; NaN gives the interval of all values.
        count: The number of networks.
    """
    if count < 2 or math.isnan(tau):
        return -1.0, 1.0
    spread = chance_tau(count) ** 2
    middle, half = tau / (1 + spread), math.sqrt(spread * (1 - tau**2 + spread)) / (1 + spread)
    return middle - half, middle + half


def _right_or_wrong(losses: Losses) -> bool:
    return bool(((losses == WRONG) | (losses == 0.0)).all())


def resampled(
    figure: Callable[[NDArray[np.int64]], float], size: tuple[int, ...]
) -> Interval | None:
    """The interval of a figure that is no mean over samples, by the bootstrap (Efron 1979).

    Its width is that of a normal distribution with the deviation over 100 draws of as many samples,
    with replacement. None for a single sample, where the draws would take minutes, or where all
    draws agree, as for a network without a fault.

    Args:
        figure: A function from the positions of samples to the loss of the figure on these.
        size: The shape of all outputs, with the samples first.
    """
    count = size[0]
    if count < 2 or math.prod(size) * _DRAWS > _MOST_NUMBERS:
        return None
    rng = np.random.default_rng(0)
    drawn = [figure(rng.integers(count, size=count)) for _ in range(_DRAWS)]
    mean, reach = figure(np.arange(count)), 1.96 * float(np.std(drawn, ddof=1))
    return Interval(max(0.0, mean - reach), mean + reach, count) if reach else None
