"""The criterion of a regression: squared error in training, mean absolute error as figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nas.facts.metric import MetricWords
from nas.tasks.criteria.values import require_values, residuals, sample_means
from nas.tasks.criterion import Criterion, Metric
from search_spaces.ops import Shape


@dataclass(frozen=True)
class Regression(Criterion):
    """Outputs and targets are values of the same shape, `(n, *output)`.

    The loss of a sample is its mean absolute error: the mean over the values of the sample.

    Attributes:
        unit: The unit of the figures.
        scale: The figures' unit, in units of the targets: if a task divides its targets by their
            deviation, this deviation makes figures that are in units of the original targets.
        digits: The number of digits behind the point that are shown.
    """

    unit: str = ""
    scale: float = 1.0
    digits: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be positive, given {self.scale}")

    @property
    def error(self) -> MetricWords:
        """The mean absolute error over all samples and their values."""
        return MetricWords("mean absolute error", self.unit, self.digits)

    @property
    def further(self) -> Mapping[str, Metric]:
        """The root mean square error, and the explained share of the variance."""
        return {
            "rmse": Metric(MetricWords("RMSE", self.unit, self.digits), self.rmse),
            "r2": Metric(MetricWords("R²", "", 3, best=1.0), unexplained),
        }

    def check(self, output: Shape, targets: Tensor) -> None:
        """Refuse targets that are not finite values of the output's shape."""
        require_values(output, targets)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """The mean squared error, in squared units of the targets."""
        return residuals(out, target).square().mean()

    def distance(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The mean squared difference from the teacher's values."""
        return residuals(out, teacher.detach()).square().mean()

    def losses(self, out: Tensor, target: Tensor) -> Tensor:
        """The mean absolute error of each sample, `(n,)`."""
        return self.scale * sample_means(residuals(out, target).abs())

    def guess(self, targets: Tensor) -> float:
        """The loss of always answering the mean of the targets."""
        return float(F.mse_loss(targets.mean(dim=0).expand_as(targets), targets))

    def constant_error(self, targets: Tensor) -> float:
        """The mean absolute error of always answering the median of each value."""
        middle = targets.median(dim=0).values.expand_as(targets)
        return float(self.losses(middle, targets).double().mean())

    def rmse(self, out: Tensor, target: Tensor) -> float:
        """The root of the mean squared error."""
        return self.scale * math.sqrt(float(residuals(out, target).double().square().mean()))


def unexplained(out: Tensor, target: Tensor) -> float:
    """1 less the coefficient of determination, the mean over the values of a sample.

    A value that is the same in all targets counts as explained only where it is met exactly.
    """
    left = residuals(out, target).double().square().sum(dim=0)
    spread = (target.double() - target.double().mean(dim=0)).square().sum(dim=0)
    shares = (left / spread).where(spread > 0, (left > 0).double())
    return float(shares.mean())
