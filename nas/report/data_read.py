"""What was read, in one block for the terminal and as a section of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nas.facts.data_facts import DataFacts, SplitFacts, ValueFacts
from nas.report.markup import Markup, table, tag
from nas.terminal.display import TerminalTable

_SHOWN_TARGETS = 12


def data_read(facts: DataFacts) -> Iterator[TerminalTable | str]:
    """The table of splits, and one text with all further facts."""
    shown = TerminalTable(_HEADER, title=_title(facts), numeric=(1,), whole=(0, 1))
    for row in _rows(facts):
        shown.add_row(*row)
    yield shown
    yield "\n".join(_sentences(facts))


def data_section(facts: DataFacts | None) -> Markup:
    """The section of the report about the data; empty for a run without data of its own."""
    if facts is None:
        return Markup()
    sentences = tag("ul", [tag("li", sentence) for sentence in _sentences(facts)])
    heading = tag("h2", "Data", id="data")
    shown = table([*_HEADER], [list(row) for row in _rows(facts)], numeric=(1,))
    return tag("section", [heading, tag("p", _title(facts)), shown, sentences])


_HEADER = ("split", "samples", "from", "targets")


def _title(facts: DataFacts) -> str:
    return ", ".join(part for part in (f"What was read: {facts.source}", facts.kind) if part)


def _rows(facts: DataFacts) -> Iterator[tuple[str, str, str, str]]:
    for name, split in facts.splits.items():
        yield name, f"{split.samples:,}", split.origin or name, _targets(split)


def _targets(split: SplitFacts) -> str:
    if split.targets is not None:
        return _values(split.targets)
    counts = split.classes
    if len(counts) <= _SHOWN_TARGETS:
        return ", ".join(f"{name}: {count:,}" for name, count in counts.items())
    fewest, most = min(counts.values()), max(counts.values())
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f"{len(counts):,} names, {each} of each"


def _values(values: ValueFacts) -> str:
    shape = f" of shape {' x '.join(map(str, values.shape))}" if math.prod(values.shape) > 1 else ""
    if values.low is None or values.high is None:
        return f"{values.dtype}{shape}"
    return f"{values.dtype}{shape} from {values.low:.6g} to {values.high:.6g}"


def _sentences(facts: DataFacts) -> Iterator[str]:
    for name, values in facts.splits["train"].inputs.items():
        yield f"{name}: {_values(values)}"
    yield from facts.notes
    yield from (f"passed over: {what}" for what in facts.passed_over)
    yield from (f"look at this: {what}" for what in facts.warnings)
