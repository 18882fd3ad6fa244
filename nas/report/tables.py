"""A front for a spreadsheet and a summary for the console."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table
from rich.text import Text

from nas.durable import write_atomic
from nas.report import text
from nas.report.data import FrontPoint, Results, TargetResult

_FORMULA_STARTS = ("=", "+", "-", "@")


def write_front_csv(target: TargetResult, path: Path) -> None:
    """Write the measured front of one target to `path`, whole or not at all.

    The columns are `rank` (cheapest first), `chosen` (yes or no), `error` (validation, percent),
    the objectives, the other costs by name, `genotype` (option indices joined by spaces) and
    `description` (what was picked). Texts are on one line, and those that a spreadsheet would run
    as a formula get a leading apostrophe.

    Raises:
        WriteError: If the file cannot be written.
    """
    known = sorted({name for point in target.front for name in point.costs})
    costs = [*target.objectives, *(name for name in known if name not in target.objectives)]
    text_out = io.StringIO()
    writer = csv.writer(text_out, lineterminator="\n")
    header = ["rank", "chosen", "error", *costs, "genotype", "description"]
    writer.writerow([_inert(name) for name in header])
    for rank, point in enumerate(target.front, start=1):
        writer.writerow([rank, *_row(target, point, costs)])
    write_atomic(path, text_out.getvalue().encode())


def _row(target: TargetResult, point: FrontPoint, costs: list[str]) -> list[object]:
    chosen = target.chosen is not None and target.chosen.genotype == point.genotype
    return [
        "yes" if chosen else "no",
        point.error,
        *(point.costs.get(name, "") for name in costs),
        _inert(" ".join(map(str, point.genotype))),
        _inert("; ".join(f"{name}={_brief(pick)}" for name, pick in point.description.items())),
    ]


def _brief(pick: object) -> str:
    """A picked option on one line; of a precision only its bits."""
    if pick is None:
        return "float"
    if isinstance(pick, Mapping):
        return str(pick.get("bits", pick.get("$spec", "")))
    return str(pick)


def _inert(cell: str) -> str:
    cell = " ".join(cell.split())
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def summary_table(results: Results) -> Table:
    """One line per target for the console: what was chosen, what it costs and how good it is."""
    shown = Table(title=Text(f"{results.run}: {len(results.evaluated):,} subnets evaluated"))
    shown.add_column("target", no_wrap=True)
    shown.add_column("costs")
    for heading in ("front", "cost", "validation error", "test accuracy", "file"):
        shown.add_column(heading, justify="right")
    for target in results.targets:
        shown.add_row(*(Text(cell) for cell in _cells(target)))
    return shown


def _cells(target: TargetResult) -> list[str]:
    start = [target.name, target.provenance.origin, str(len(target.front))]
    chosen, objective = target.chosen, target.objectives[0]
    if chosen is None:
        return [*start, text.title(objective), "none chosen", "—", "—"]
    accuracy = chosen.file.test_accuracy if chosen.file else None
    size = chosen.file.bytes.measured if chosen.file else None
    value = chosen.costs.get(objective)
    return [
        *start,
        "—" if value is None else text.quantity(objective, value),
        text.estimate("error", chosen.error.measured),
        "—" if accuracy is None else f"{accuracy:.2f} %",
        text.estimate("model_bytes", size),
    ]
