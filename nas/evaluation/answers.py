"""The loss of each validation sample for a subnet, and the comparison of two subnets on some."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.facts.noise import WRONG, Interval, Losses, chance_of_equals, interval_of


@dataclass(frozen=True)
class Answers:
    """A subnet's loss for each of the first samples of the validation split.

    Attributes:
        held: The losses. Where each is 0 or `WRONG`, one bit per sample, packed by
            `numpy.packbits`; else float32, little endian.
        seen: The number of samples shown.
        whole: The number of samples that a whole evaluation of the search shows.
        packed: Whether the losses are held as bits.
    """

    held: bytes
    seen: int
    whole: int
    packed: bool

    def __post_init__(self) -> None:
        size = -(-self.seen // 8) if self.packed else 4 * self.seen
        if self.seen < 1 or self.whole < 1 or len(self.held) != size:
            raise ValueError(
                f"answers hold one {'bit' if self.packed else 'float32'} per sample shown, given "
                f"{len(self.held)} bytes for {self.seen} samples of {self.whole}"
            )
        if not self.packed and not np.isfinite(self.losses).all():
            raise ValueError("answers hold finite losses, given NaN or infinity")

    @classmethod
    def of(cls, losses: Losses, whole: int) -> Answers:
        """The answers of a subnet, from the loss of each sample shown, `(seen,)`."""
        wrong = losses == WRONG
        packed = bool((wrong | (losses == 0.0)).all())
        held = np.packbits(wrong) if packed else losses.astype("<f4")
        return cls(held.tobytes(), len(losses), whole, packed)

    @property
    def complete(self) -> bool:
        """Whether at least as many samples were shown as in a whole evaluation."""
        return self.seen >= self.whole

    @property
    def losses(self) -> Losses:
        """The loss of each sample shown, `(seen,)`."""
        if self.packed:
            return WRONG * self._bits()
        return np.frombuffer(self.held, dtype="<f4").astype(np.float64)

    @property
    def error(self) -> float:
        """The mean loss of the samples shown."""
        if self.packed:  # as a share first, as ever: equal seeds give equal numbers to the last bit
            return WRONG * float(self._bits().mean())
        return float(self.losses.mean())

    @property
    def interval(self) -> Interval | None:
        """The interval of the mean loss, if there is one."""
        return interval_of(self.losses)

    def chance_of_equals(self, other: Answers) -> float | None:
        """The p-value of the difference to another subnet on the samples that both were shown."""
        return chance_of_equals(self.losses, other.losses)

    def _bits(self) -> NDArray[np.uint8]:
        return np.unpackbits(np.frombuffer(self.held, dtype=np.uint8), count=self.seen)


@dataclass(frozen=True)
class Duel:
    """A comparison of two subnets on the same first samples of the validation split.

    The differences of losses, first subnet minus second, are counted in units of `unit`, the size
    of a typical loss. Where answers are right or wrong, the unit is one wrong answer.

    Attributes:
        total: The sum of the differences.
        squares: The sum of the squared differences.
        seen: The number of samples that both subnets were shown.
        unit: The unit of the differences.
        step: The least difference of two losses in this unit; 0 for losses of any size.
    """

    total: float
    squares: float
    seen: int
    unit: float
    step: float

    @classmethod
    def between(cls, first: Answers, second: Answers) -> Duel:
        """The comparison on the first samples, as many as both subnets have answers for."""
        seen = min(first.seen, second.seen)
        one, other = first.losses[:seen], second.losses[:seen]
        bits = first.packed and second.packed
        unit = WRONG if bits else math.sqrt(float((one**2 + other**2).mean()) / 2) or 1.0
        apart = (one - other) / unit
        return cls(float(apart.sum()), float((apart**2).sum()), seen, unit, float(bits))

    @property
    def behind(self) -> float:
        """The error of the first subnet minus that of the second."""
        return self.unit * self.total / self.seen

    def chance(self, whole: int) -> float:
        """The chance that the first subnet ends with the smaller error on `whole` samples.

        The test is that of paired samples: what both subnets find equally hard cancels, so the
        variance is that of the differences. For answers that are right or wrong, this is the test
        of McNemar (1947). The square of one unit is added, so that a few samples without difference
        do not look certain. Since `seen` of the `whole` samples are known, the variance has the
        correction for a finite population. Stopping on this chance is stochastic curtailment (Lan,
        Simon and Halperin 1982).
        """
        mean = self.total / self.seen
        variance = (self.squares + 1) / self.seen - mean**2
        left = 1.0 / self.seen - 1.0 / whole
        if left <= 0.0:
            return float(mean < 0.0)
        return 0.5 * math.erfc((mean + 0.5 * self.step / whole) / math.sqrt(2.0 * variance * left))


STEPS = 8
"""The least number of parts of a validation split; an evaluation may stop after each part."""

LEAST_CHANCE = 0.1
"""The least chance to beat its rival with which an evaluation goes on; below, it is stopped."""


def hopeless(answers: Answers, rival: Answers) -> bool:
    """Whether a subnet is so unlikely to beat its rival that its evaluation should stop.

    The function may be called after every batch. Each call computes the chance that the subnet
    still wins in the end, so frequent calls do not make a wrong stop more likely than
    `LEAST_CHANCE`.

    Args:
        answers: The subnet's answers so far.
        rival: The answers of the subnet to beat.
    """
    return Duel.between(answers, rival).chance(rival.whole) < LEAST_CHANCE


def estimated_error(answers: Answers, rival: Answers | None) -> float:
    """The mean loss; for a stopped evaluation, an estimate from the rival's.

    The estimate is the rival's error plus the difference on the samples that both saw. The samples
    were the same, easy or hard, so the estimate varies less than the error on these samples alone.
    The estimate is above the rival's error, so a stopped subnet is on no front.
    """
    if rival is None or answers.complete:
        return answers.error
    return rival.error + Duel.between(answers, rival).behind
