"""Figures with their spread: estimates, comparisons, and the error of predicted latencies."""

from __future__ import annotations

from dataclasses import dataclass

from nas.facts.noise import Interval

NORMAL_90 = 1.645  # 90 % of a normal distribution lie within so many standard deviations


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard deviation, or its interval as a mean over samples, if known."""

    mean: float
    std: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True)
class Comparison:
    """One figure as predicted and as measured; `None` where it was not predicted or measured."""

    predicted: Estimate | None = None
    measured: Estimate | None = None


@dataclass(frozen=True)
class LatencyBand:
    """The relative error of predicted latencies, from whole networks measured on the device.

    Attributes:
        median: The median error.
        tail: The error below which 90 % of the networks lie.
        within_5: The share of networks with an error of at most 5 %.
        within_10: The share of networks with an error of at most 10 %.
        networks: The number of measured networks; each was predicted from all others.
    """

    median: float
    tail: float
    within_5: float
    within_10: float
    networks: int

    def estimate(self, latency_ms: float) -> Estimate:
        """A predicted latency with the standard deviation for which 90 % lie within the tail."""
        return Estimate(latency_ms, latency_ms * self.tail / NORMAL_90)
