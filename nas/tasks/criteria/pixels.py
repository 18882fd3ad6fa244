"""The criterion of images as outputs: differences of pixels, told as a signal-to-noise ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from nas.facts.metric import MetricWords
from nas.tasks.criteria.values import require_values, residuals, sample_means
from nas.tasks.criterion import Criterion, Metric
from search_spaces.ops import Shape

_LIMIT_DB = 100.0  # equal images would have an infinite ratio


@dataclass(frozen=True)
class Pixels(Criterion):
    """Outputs and targets are images of the same shape, `(n, channels, height, width)`.

    The loss of a sample is the number of decibels by which its peak signal-to-noise ratio (PSNR)
    is below 100 dB, at which images count as equal.

    Attributes:
        norm: What training minimises: `l1`, the absolute difference of pixels, or `l2`, the square.
        peak: The difference between black and white, in units of the targets.
    """

    norm: Literal["l1", "l2"] = "l1"
    peak: float = 1.0

    def __post_init__(self) -> None:
        if self.norm not in ("l1", "l2"):
            raise ValueError(f"norm must be 'l1' or 'l2', given {self.norm!r}")
        if not 0 < self.peak < math.inf:
            raise ValueError(f"peak must be positive, given {self.peak}")

    @property
    def error(self) -> MetricWords:
        """Decibels of the PSNR below 100."""
        return MetricWords("PSNR deficit", "dB")

    @property
    def shown(self) -> MetricWords:
        """The PSNR, the mean over the images."""
        return MetricWords("PSNR", "dB", best=_LIMIT_DB)

    @property
    def further(self) -> Mapping[str, Metric]:
        """Mean differences of pixels, in percent of the difference between black and white."""
        return {
            "mean_absolute_error": Metric(
                MetricWords("mean absolute error", "% of the peak"), self.mean_absolute_error
            ),
            "rmse": Metric(MetricWords("RMSE", "% of the peak"), self.rmse),
        }

    def check(self, output: Shape, targets: Tensor) -> None:
        """Refuse targets that are not finite images of the output's shape."""
        require_values(output, targets)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """The mean absolute or squared difference of pixels."""
        apart = residuals(out, target)
        return apart.abs().mean() if self.norm == "l1" else apart.square().mean()

    def distance(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The mean absolute or squared difference from the teacher's pixels."""
        return self.loss(out, teacher.detach())

    def losses(self, out: Tensor, target: Tensor) -> Tensor:
        """Decibels by which the PSNR of each image is below 100."""
        power = sample_means(residuals(out, target).square()) / self.peak**2
        return _LIMIT_DB + 10.0 * power.clamp_min(10 ** (-_LIMIT_DB / 10)).log10()

    def guess(self, targets: Tensor) -> float:
        """The loss of always answering the median or the mean of each pixel."""
        middle = targets.median(dim=0).values if self.norm == "l1" else targets.mean(dim=0)
        return float(self.loss(middle.expand_as(targets), targets))

    def constant_error(self, targets: Tensor) -> float:
        """Decibels by which the PSNR of the mean image is below 100, the mean over the images."""
        middle = targets.mean(dim=0).expand_as(targets)
        return float(self.losses(middle, targets).double().mean())

    def mean_absolute_error(self, out: Tensor, target: Tensor) -> float:
        """The mean absolute difference of pixels, in percent of the peak."""
        return 100.0 / self.peak * float(residuals(out, target).double().abs().mean())

    def rmse(self, out: Tensor, target: Tensor) -> float:
        """The root mean squared difference of pixels, in percent of the peak."""
        power = float(residuals(out, target).double().square().mean())
        return 100.0 / self.peak * math.sqrt(power)
