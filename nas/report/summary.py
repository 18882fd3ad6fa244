"""Two short forms of results: a Pareto front as a CSV file, and a summary for the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

from nas.facts.metric import MetricWords
from nas.facts.noise import Interval
from nas.files.durable import write_atomic
from nas.report import text
from nas.report.across import alike
from nas.report.advice import advice, doubts
from nas.report.data import Results, TargetResult
from nas.report.layers import in_words
from nas.report.selection import in_short, selections
from nas.report.subnets import Chosen, FrontPoint
from nas.report.words import Words
from nas.terminal.display import TerminalTable
from nas.terminal.untrusted import spreadsheet_cell

_MOST = 12  # rows of networks that are compared; a report has all
_LATENCIES = ("latency_std_ms", "measured_latency_ms", "measured_latency_std_ms")


def write_front_csv(target: TargetResult, path: Path, *, words: Words) -> None:
    """Write the measured front of one target to a CSV file, in one step.

    There is one row per subnet of the front. The columns are:

    - `rank`, cheapest first, and `chosen`, yes or no,
    - `error`, on the validation split, in the unit of the task's error, with `error_low` and
      `error_high`, the ends of its interval of 95 %, if that is known,
    - the objectives, then the other costs by name; a further metric as a reader is shown it, such
      as a recall in percent,
    - `latency_std_ms`, the standard deviation of the predicted latency, if that is known,
    - `measured_latency_ms` and `measured_latency_std_ms`, if some subnet was run as a whole; empty
      for all other subnets,
    - `genotype`, the option indices joined by spaces, and `description`, the picked options.

    A text is on one line; a text that a spreadsheet would run as a formula gets an apostrophe.

    Raises:
        WriteError: If the file cannot be written.
    """
    known = sorted({name for point in target.front for name in point.costs})
    costs = [*target.objectives, *(name for name in known if name not in target.objectives)]
    text_out = io.StringIO()
    writer = csv.writer(text_out, lineterminator="\n")
    latencies = [_latencies(target, point) for point in target.front]
    seen = [name for name in _LATENCIES if any(name in found for found in latencies)]
    ends = ["error_low", "error_high"] if any(point.interval for point in target.front) else []
    header = ["rank", "chosen", "error", *ends, *costs, *seen, "genotype", "description"]
    writer.writerow([spreadsheet_cell(name) for name in header])
    for rank, (point, found) in enumerate(zip(target.front, latencies, strict=True), start=1):
        figures = {**{n: words.value(n, cost) for n, cost in point.costs.items()}, **found}
        if point.interval is not None:
            figures |= {"error_low": point.interval.low, "error_high": point.interval.high}
        columns: list[object] = [figures.get(name, "") for name in (*ends, *costs, *seen)]
        writer.writerow([rank, *_row(target, point, columns)])
    write_atomic(path, text_out.getvalue().encode())


def _latencies(target: TargetResult, point: FrontPoint) -> dict[str, float]:
    """The deviation of the predicted latency and the measured latency, if known, by column."""
    measured = target.measured_latency_ms.get(point.genotype)
    predicted, band = point.costs.get("latency_ms"), target.latency_band
    sure = None if predicted is None or band is None else band.estimate(predicted).std
    figures = (sure, measured and measured.mean, measured and measured.std)
    return {n: value for n, value in zip(_LATENCIES, figures, strict=True) if value is not None}


def _row(target: TargetResult, point: FrontPoint, figures: list[object]) -> list[object]:
    chosen = target.chosen is not None and target.chosen.genotype == point.genotype
    return [
        "yes" if chosen else "no",
        point.error,
        *figures,
        spreadsheet_cell(" ".join(map(str, point.genotype))),
        spreadsheet_cell(
            "; ".join(f"{name}={text.option(pick)}" for name, pick in point.description.items())
        ),
    ]


def told(results: Results) -> Iterator[str | TerminalTable]:
    """The lines for the console: a table, then per device the subnet and why it was chosen."""
    yield summary_table(results)
    made = selections(results)
    for target in results.targets:
        if any(one.objection is not None for one in target.references):
            yield compared(results.words, target)
        if target.name in made:
            pick = made[target.name].pick
            network = f"{in_words(pick.layers)}\n" if pick.layers else ""
            yield f"{target.name}: {network}{in_short(made[target.name])}"
        if sure := "; ".join(_sure(results.words, target)):
            yield f"{target.name}, with a confidence of 95 %: {sure}"
        yield from (f"{target.name}: {sentence}" for sentence in doubts(results.words, target))
    yield from alike(results)
    yield from advice(results)


def compared(words: Words, target: TargetResult) -> TerminalTable:
    """A table of the networks that the chosen one was compared with, cheapest first.

    A network has the reason beside it why the device cannot take the network.
    """
    cost = target.objectives[0]
    ordered = sorted(target.references, key=lambda one: one.costs.get(cost, math.inf))
    more = f", {len(ordered) - _MOST} more in the report" if len(ordered) > _MOST else ""
    shown = TerminalTable(
        ("policy", words.named(cost), words.named("error"), "no candidate"),
        title=f"{target.name}: uniform policies{more}",
        numeric=(1, 2),
        whole=(0,),
    )
    for one in ordered[:_MOST]:
        figures = (words.quantity(cost, one.costs[cost]), words.quantity("error", one.error))
        shown.add_row(one.name.removeprefix("uniform "), *figures, one.objection or "")
    return shown


def _sure(words: Words, target: TargetResult) -> Iterator[str]:
    """The intervals of the chosen subnet's error and of its file's, as far as they are known."""
    chosen = target.chosen
    if chosen is None:
        return
    measured, file = chosen.error.measured, chosen.file
    if measured is not None and (found := measured.interval) is not None:
        yield _range(words.named("error"), words.error, found)
    if file is not None and (found := file.test_intervals.get("error")) is not None:
        yield _range(f"test {words.shown.name}", words.shown, found)


def _range(name: str, words: MetricWords, found: Interval) -> str:
    unit = f" {words.unit}" if words.unit else ""
    return f"{name} {words.span(found.low, found.high)}{unit} ({found.samples:,} samples)"


def summary_table(results: Results) -> TerminalTable:
    """A table for the terminal with one row per target: the chosen subnet, its cost and error.

    Of a table of networks, it has the share of the exact front that was found, and no file.
    """
    words = results.words
    last = (f"test {words.shown.name}", "file") if results.table is None else ("of exact front",)
    shown = TerminalTable(
        ("target", "costs", "front", "cost", words.named("error"), *last),
        title=f"{results.run}: {len(results.evaluated):,} subnets evaluated",
        numeric=range(2, 5 + len(last)),
        whole=(0,),
    )
    for target in results.targets:
        share = "—" if target.exact_share is None else f"{target.exact_share:.1%}"
        ends = _of_file(words, target.chosen) if results.table is None else [share]
        shown.add_row(*_cells(words, target), *ends)
    return shown


def _cells(words: Words, target: TargetResult) -> list[str]:
    start = [target.name, target.provenance.origin, str(len(target.front))]
    chosen, objective = target.chosen, target.objectives[0]
    if chosen is None:
        return [*start, words.title(objective), "none chosen"]
    measured, value = chosen.error.measured, chosen.costs.get(objective)
    return [
        *start,
        "—" if value is None else words.quantity(objective, value),
        "—" if measured is None else words.quantity("error", measured.mean),
    ]


def _of_file(words: Words, chosen: Chosen | None) -> list[str]:
    """The test error and the size of the exported file."""
    file = chosen and chosen.file
    if file is None:
        return ["—", "—"]
    error = file.test_error
    size = text.estimate("model_bytes", file.bytes.measured)
    return ["—" if error is None else words.shown.text(error), size]
