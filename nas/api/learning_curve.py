"""The learning curve of a training that a search watches, and stops where nothing is to be won."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from nas.evaluation.evaluation import ERROR, STOPPED
from nas.facts.metric import MetricWords
from nas.parts import Parts

if TYPE_CHECKING:
    from predictors.curves.forecast import CurveModel

LEAST_CHANCE = 0.02
"""The least chance to beat its rival with which a training goes on."""

FIRST = 3
"""The number of epochs after which a curve is judged first."""


@dataclass(frozen=True)
class Training:
    """What is known of trainings before they begin.

    Attributes:
        epochs: The number of epochs of a whole training.
        model: The name of the model that predicts how a curve ends.
    """

    epochs: int
    model: str

    def __post_init__(self) -> None:
        if self.epochs <= FIRST:
            raise ValueError(
                f"curves are judged after {FIRST} epochs, so epochs is at least {FIRST + 1}, given "
                f"{self.epochs}; leave epochs out for shorter trainings"
            )
        _ = Parts("curve")[self.model]


@dataclass(eq=False)
class LearningCurve:
    """The figures of a training after each epoch so far, and whether it is still worth training.

    A search with `epochs` gives one to its objective, as the second argument.

    Attributes:
        training: What is known of the training.
        metric: The words of the figures.
        hurdle: The loss that the training has to beat in the end; None without a rival.
        losses: The figures as losses, one for each epoch so far.
        expected: The loss that was expected in the end when the curve became hopeless, or None.
    """

    training: Training
    metric: MetricWords
    hurdle: float | None = None
    losses: list[float] = field(default_factory=list)
    expected: float | None = None

    @property
    def epochs(self) -> int:
        """The number of epochs of a whole training."""
        return self.training.epochs

    @property
    def hopeless(self) -> bool:
        """Whether the training should end now, as its last figure will hardly beat the rival's."""
        return self.expected is not None

    @property
    def stopped(self) -> dict[str, float] | None:
        """The metrics of a training that ended because it was hopeless; None for all others."""
        if self.expected is None or len(self.losses) == self.epochs:
            return None
        return {ERROR: self.expected, STOPPED: float(len(self.losses))}

    def report(self, figure: float) -> None:
        """Record the figure after an epoch, on the samples that judge the network in the end.

        Raises:
            ValueError: The figure is not a finite number, or the training has no epoch left.
        """
        if isinstance(figure, bool) or not isinstance(figure, Real) or not math.isfinite(figure):
            raise ValueError(
                f"the figure of an epoch is a finite number, given {figure!r}; raise an error or "
                "return NaN where a training fails"
            )
        if len(self.losses) == self.epochs:
            raise ValueError(
                f"a training has {self.epochs} epochs, given the figure of one more; give the "
                "search the number of epochs that you train"
            )
        self.losses.append(self.metric.loss(float(figure)))
        self._judge()

    def _judge(self) -> None:
        known = len(self.losses)
        if self.hopeless or self.hurdle is None or not FIRST <= known < self.epochs:
            return
        model: CurveModel = Parts("curve")[self.training.model]
        forecast = model(np.array([self.losses]), self.epochs)
        if forecast.chance_below(self.hurdle)[0] < LEAST_CHANCE:
            self.expected = max(float(forecast.mean[0]), self.hurdle)
