"""The words of a run's figures: those of the task's criterion, and those of costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from nas.facts.metric import MetricWords
from nas.report import text
from nas.report.estimates import Estimate

_ERROR = "error"


@dataclass(frozen=True)
class Words:
    """The words in which readers are told errors, further metrics and costs, by their names.

    All values are losses and costs, of which smaller ones are better. The name `error` stands for
    the searched loss on the validation split.

    Attributes:
        error: The words of the searched loss.
        shown: The words in which the same loss is told of a finished file.
        metrics: The words of the criterion's figures, by the name that objectives and limits have.
    """

    error: MetricWords
    shown: MetricWords
    metrics: Mapping[str, MetricWords] = field(default_factory=dict)

    def named(self, name: str) -> str:
        """The name of a figure inside a sentence: `latency_ms` becomes "latency"."""
        words = self._measured(name)
        return text.title(name).lower() if words is None else f"validation {words.name}"

    def title(self, name: str) -> str:
        """The name of a figure as a heading: `latency_ms` becomes "Latency"."""
        words = self._measured(name)
        return text.title(name) if words is None else f"Validation {words.name}"

    def axis(self, name: str) -> str:
        """The name of a figure with its unit for an axis: `latency_ms` becomes "Latency (ms)"."""
        words = self._measured(name)
        return text.axis_title(name) if words is None else f"Validation {words.heading}"

    def value(self, name: str, loss: float) -> float:
        """The number that a reader is shown for a loss or a cost."""
        words = self._measured(name)
        return loss if words is None else words.figure(loss)

    def quantity(self, name: str, loss: float) -> str:
        """A loss or a cost with its unit: `latency_ms` and 0.4213 become "0.421 ms"."""
        words = self._measured(name)
        if words is None or not math.isfinite(loss):
            return text.quantity(name, loss)
        return words.text(loss)

    def estimate(self, name: str, value: Estimate | None) -> str:
        """A figure with its deviation, "2.31 ± 0.20 %", or interval, "2.31 % (1.9 to 2.8)".

        A dash for None.
        """
        if value is None or self._measured(name) is None:
            return text.estimate(name, value)
        shown = self.quantity(name, value.mean)
        if value.interval is not None and (words := self._measured(name)) is not None:
            return f"{shown} ({words.span(value.interval.low, value.interval.high)})"
        if not value.std or not math.isfinite(value.mean):
            return shown
        number, _, unit = shown.partition(" ")
        return f"{number} ± {text.significant(value.std, 2)} {unit}".rstrip()

    def best(self, name: str) -> str:
        """The name of a figure of the least loss: "lowest latency"."""
        words = self._measured(name)
        side = "highest" if words is not None and words.larger_is_better else "lowest"
        return f"{side} {self.named(name)}"

    def limit(self, name: str, loss: float) -> str:
        """A limit as a condition: "latency ≤ 2 ms", or "validation recall ≥ 90 %"."""
        words = self._measured(name)
        sign = "≥" if words is not None and words.larger_is_better else "≤"
        return f"{self.named(name)} {sign} {self.quantity(name, loss)}"

    def _measured(self, name: str) -> MetricWords | None:
        """The words of a figure that the criterion measures; None for other costs."""
        return self.error if name == _ERROR else self.metrics.get(name)
