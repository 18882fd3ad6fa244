"""Output on the terminal: progress bars, sentences and tables; all text goes through this module.

Text is shown literally: square brackets are no markup, and control characters are shown by their
escapes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import rich.table
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from nas.terminal.untrusted import visible

_CONTINUED = "  "


@dataclass
class TerminalTable:
    """A table for the terminal.

    Attributes:
        header: The headings of the columns.
        title: The title above the table.
        numeric: The columns, from 0, that are aligned to the right.
        whole: The columns whose cells are never broken into several lines.
        rows: The cells, row by row.
    """

    header: Sequence[str]
    title: str = ""
    numeric: Sequence[int] = ()
    whole: Sequence[int] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add_row(self, *cells: str) -> None:
        """Add a row of as many cells as there are headings."""
        self.rows.append(cells)


class Advance(Protocol):
    """A function that moves a progress bar."""

    def __call__(self, done: int, total: int, note: str) -> None:
        """Set the bar to `done` of `total` steps, with a short note beside it."""
        ...


class Display(Protocol):
    """A display on which a run shows its progress and its messages."""

    def say(self, what: str | TerminalTable) -> None:
        """Show a sentence or a table."""
        ...

    def stage(self, name: str) -> contextlib.AbstractContextManager[Advance]:
        """A context for a stage of the run; it yields the function that moves the stage's bar."""
        ...


class Silent:
    """A display that shows nothing, for use from Python and in tests."""

    def say(self, what: str | TerminalTable) -> None:
        """Show nothing."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A context that yields a function without effect."""
        yield lambda done, total, note: None


class Terminal:
    """A display on the terminal: one progress bar per stage, below all sentences and tables."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<8}", markup=False),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=Console(),
        )

    def __enter__(self) -> Terminal:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, what: str | TerminalTable) -> None:
        """Print a sentence or a table above the bars."""
        _print(self._bars.console, what)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A context for a stage with a bar of its own, which stays when the stage is over."""
        bar = self._bars.add_task(visible(name), total=None, note="")

        def advance(done: int, total: int, note: str) -> None:
            self._bars.update(bar, completed=done, total=total, note=visible(note))

        yield advance


def say(what: str | TerminalTable) -> None:
    """Print a sentence or a table to the standard output."""
    _print(Console(), what)


def complain(what: str) -> None:
    """Print a message about an error to the standard error output."""
    _print(Console(stderr=True), what)


def dump(document: str) -> None:
    """Print a document unchanged to the standard output, for another program to read."""
    sys.stdout.write(document)


def _print(console: Console, what: str | TerminalTable) -> None:
    if isinstance(what, str):
        console.print(Text(lines(what)), soft_wrap=True)
    else:
        console.print(_drawn(what))


def lines(content: str) -> str:
    """A message of several lines, of which all but the first are indented.

    A foreign name with a line break inside can then not look like a message of the engine.
    """
    first, *others = map(visible, content.split("\n"))
    indented = (line if line.startswith(_CONTINUED) else f"{_CONTINUED}{line}" for line in others)
    return "\n".join([first, *indented])


def _drawn(table: TerminalTable) -> rich.table.Table:
    title = Text(visible(table.title)) if table.title else None
    drawn = rich.table.Table(title=title, title_justify="left")
    for column, heading in enumerate(table.header):
        drawn.add_column(
            Text(visible(heading)),
            justify="right" if column in table.numeric else "left",
            no_wrap=column in table.whole,
        )
    for row in table.rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    return drawn
