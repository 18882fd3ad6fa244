"""Cells of tables that hold a figure with its interval below, which keeps columns narrow."""

from __future__ import annotations

from nas.facts.metric import MetricWords
from nas.facts.noise import Interval
from nas.report.estimates import Estimate
from nas.report.markup import Markup, tag
from nas.report.subnets import ExportedFile
from nas.report.words import Words

UNKNOWN = tag("span", "—")


def error_cell(words: Words, error: Estimate | None) -> Markup:
    """An error on the validation split, with its interval or deviation if that is known."""
    if error is None or error.interval is None:
        return estimate_cell(words, "error", error)
    return ranged(words.error, error.mean, error.interval)


def estimate_cell(words: Words, name: str, value: Estimate | None) -> Markup:
    """A cost or an error, with its standard deviation below if that is known."""
    _, sign, deviation = words.estimate(name, value).partition("±")
    if value is None or not sign:
        return tag("span", words.estimate(name, value))
    shown = words.quantity(name, value.mean)
    return tag("span", [shown, tag("small", f" {sign}{deviation}", class_="range")])


def file_cell(words: Words, file: ExportedFile, name: str = "error") -> Markup:
    """A figure of an exported file on the test split; that of the searched loss is `error`."""
    loss = file.test_error if name == "error" else file.test_metrics[name]
    if loss is None:
        return UNKNOWN
    named = words.shown if name == "error" else words.metrics[name]
    return ranged(named, loss, file.test_intervals.get(name))


def ranged(words: MetricWords, loss: float, interval: Interval | None) -> Markup:
    """The figure of a loss, with the figures of its interval below."""
    if interval is None:
        return tag("span", words.text(loss))
    span = words.span(interval.low, interval.high)
    return tag("span", [words.text(loss), tag("small", f" {span}", class_="range")])
