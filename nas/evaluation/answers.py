"""Which validation images a subnet got wrong, and what a part of them says of two subnets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Wrong = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """What a subnet got wrong of the validation images that it was shown, the first ones.

    Attributes:
        bits: One per image shown, set where the answer is wrong; packed by `numpy.packbits`.
        seen: How many images were shown.
        whole: How many a whole evaluation of the search shows.
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
        """The answers whose wrong ones are set in `wrong` `(seen,)`."""
        return cls(np.packbits(wrong).tobytes(), len(wrong), whole)

    @property
    def complete(self) -> bool:
        """Whether at least a whole evaluation was made."""
        return self.seen >= self.whole

    @property
    def wrong(self) -> Wrong:
        """Whether each image shown got a wrong answer, `(seen,)`."""
        bits = np.frombuffer(self.bits, dtype=np.uint8)
        return np.unpackbits(bits, count=self.seen).astype(np.bool_)

    @property
    def error(self) -> float:
        """Wrong answers in percent of the images shown."""
        return 100.0 * float(self.wrong.mean())


@dataclass(frozen=True)
class Duel:
    """Two subnets on the same first images.

    Attributes:
        lost: Images that the first got wrong and the second right.
        won: The other way round.
        seen: Images both were shown.
    """

    lost: int
    won: int
    seen: int

    @classmethod
    def between(cls, first: Sequence[bool] | Wrong, second: Sequence[bool] | Wrong) -> Duel:
        """The duel on as many images as both have answers for."""
        seen = min(len(first), len(second))
        one, other = np.asarray(first)[:seen], np.asarray(second)[:seen]
        return cls(int((one & ~other).sum()), int((other & ~one).sum()), seen)

    @property
    def behind(self) -> float:
        """How many points of error the first is worse."""
        return 100.0 * (self.lost - self.won) / self.seen

    def chance(self, whole: int) -> float:
        """The chance that the first ends with fewer wrong answers on `whole` images.

        Answers to images that both get right or wrong cancel, so the variance is that of the
        differences (McNemar 1947), with one more on either side lest a few agreeing images look
        certain. Of `whole` images `seen` are known, hence the correction for a finite population.
        Stopping on this chance is stochastic curtailment (Lan, Simon and Halperin 1982).
        """
        mean = (self.lost - self.won) / self.seen
        variance = (self.lost + self.won + 1) / self.seen - mean**2
        left = 1.0 / self.seen - 1.0 / whole
        if left <= 0.0:
            return float(mean < 0.0)
        return 0.5 * math.erfc((mean + 0.5 / whole) / math.sqrt(2.0 * variance * left))


STEPS = 8
"""Parts of a validation split after which an evaluation may be stopped, at least."""

LEAST_CHANCE = 0.1
"""An evaluation with a smaller chance to beat its rival is stopped."""


def hopeless(wrong: Wrong, rival: Answers) -> bool:
    """Whether a subnet with these `wrong` answers so far is not worth the images that are left.

    The chance is asked for after every batch. As each time it says how likely the subnet still is
    to win, looking often does not make a wrong stop more likely than `LEAST_CHANCE`.
    """
    return Duel.between(wrong, rival.wrong).chance(rival.whole) < LEAST_CHANCE


def estimated_error(answers: Answers, rival: Answers | None) -> float:
    """Percent wrong; of a stopped evaluation the rival's, and by how much it was behind.

    Both saw the same images, easy or hard, so this varies less than the share of its own wrong
    answers. It lies above the rival's error, so what is stopped is on no front.
    """
    if rival is None or answers.complete:
        return answers.error
    return rival.error + Duel.between(answers.wrong, rival.wrong).behind
