"""A subnet's answers to validation images, and the comparison of two subnets on some images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Wrong = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """A subnet's right and wrong answers to the first images of the validation split.

    Attributes:
        bits: One bit per image shown, set where the answer is wrong; packed by `numpy.packbits`.
        seen: The number of images shown.
        whole: The number of images that a whole evaluation of the search shows.
    """

    bits: bytes
    seen: int
    whole: int

    def __post_init__(self) -> None:
        if not 0 < self.seen <= 8 * len(self.bits) < self.seen + 8 or self.whole < 1:
            raise ValueError(
                f"answers hold one bit per image shown, given {len(self.bits)} bytes for "
                f"{self.seen} images of {self.whole}"
            )

    @classmethod
    def of(cls, wrong: Wrong, whole: int) -> Answers:
        """The answers of a subnet, from `wrong` `(seen,)`: whether each answer is wrong."""
        return cls(np.packbits(wrong).tobytes(), len(wrong), whole)

    @property
    def complete(self) -> bool:
        """Whether at least as many images were shown as in a whole evaluation."""
        return self.seen >= self.whole

    @property
    def wrong(self) -> Wrong:
        """Whether the answer to each image shown is wrong, `(seen,)`."""
        bits = np.frombuffer(self.bits, dtype=np.uint8)
        return np.unpackbits(bits, count=self.seen).astype(np.bool_)

    @property
    def error(self) -> float:
        """The share of wrong answers among the images shown, in percent."""
        return 100.0 * float(self.wrong.mean())


@dataclass(frozen=True)
class Duel:
    """A comparison of two subnets on the same first images of the validation split.

    Attributes:
        lost: The number of images that the first subnet got wrong and the second right.
        won: The number of images that the first subnet got right and the second wrong.
        seen: The number of images that both subnets were shown.
    """

    lost: int
    won: int
    seen: int

    @classmethod
    def between(cls, first: Sequence[bool] | Wrong, second: Sequence[bool] | Wrong) -> Duel:
        """The comparison on the first images, as many as both subnets have answers for."""
        seen = min(len(first), len(second))
        one, other = np.asarray(first)[:seen], np.asarray(second)[:seen]
        return cls(int((one & ~other).sum()), int((other & ~one).sum()), seen)

    @property
    def behind(self) -> float:
        """The error of the first subnet minus that of the second, in percentage points."""
        return 100.0 * (self.lost - self.won) / self.seen

    def chance(self, whole: int) -> float:
        """The chance that the first subnet ends with fewer wrong answers on `whole` images.

        Images that both subnets get right or both get wrong cancel, so the variance is that of the
        differences (McNemar 1947). One image is added to either side, so that a few images without
        difference do not look certain. Since `seen` of the `whole` images are known, the variance
        has the correction for a finite population. Stopping on this chance is stochastic
        curtailment (Lan, Simon and Halperin 1982).
        """
        mean = (self.lost - self.won) / self.seen
        variance = (self.lost + self.won + 1) / self.seen - mean**2
        left = 1.0 / self.seen - 1.0 / whole
        if left <= 0.0:
            return float(mean < 0.0)
        return 0.5 * math.erfc((mean + 0.5 / whole) / math.sqrt(2.0 * variance * left))


STEPS = 8
"""The least number of parts of a validation split; an evaluation may stop after each part."""

LEAST_CHANCE = 0.1
"""The least chance to beat its rival with which an evaluation goes on; below, it is stopped."""


def hopeless(wrong: Wrong, rival: Answers) -> bool:
    """Whether a subnet is so unlikely to beat its rival that its evaluation should stop.

    The function may be called after every batch. Each call computes the chance that the subnet
    still wins in the end, so frequent calls do not make a wrong stop more likely than
    `LEAST_CHANCE`.

    Args:
        wrong: Whether the answer to each image so far is wrong, `(seen,)`.
        rival: The answers of the subnet to beat.
    """
    return Duel.between(wrong, rival.wrong).chance(rival.whole) < LEAST_CHANCE


def estimated_error(answers: Answers, rival: Answers | None) -> float:
    """The error in percent; for a stopped evaluation, an estimate from the rival's error.

    The estimate is the rival's error plus the difference on the images that both saw. The images
    were the same, easy or hard, so the estimate varies less than the error on these images alone.
    It is above the rival's error, so a stopped subnet is on no front.
    """
    if rival is None or answers.complete:
        return answers.error
    return rival.error + Duel.between(answers.wrong, rival.wrong).behind
