"""What a run shows while it works, and the one door by which text reaches the terminal.

All text is shown as it is: square brackets are no markup, and characters that would steer the
terminal are shown by their escapes.
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
        header: The headings.
        title: What stands above.
        numeric: Columns, from 0, that are aligned to the right.
        whole: Columns whose cells are never broken into lines.
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
    """Moves a bar: how much is done, how much there is, and a word on how it goes."""

    def __call__(self, done: int, total: int, note: str) -> None:
        """Set how far the stage is."""
        ...


class Display(Protocol):
    """A place where a run shows its progress and its messages."""

    def say(self, what: str | TerminalTable) -> None:
        """Show a sentence or a table."""
        ...

    def stage(self, name: str) -> contextlib.AbstractContextManager[Advance]:
        """A stage of the run, with a bar that the yielded function moves."""
        ...


class Silent:
    """Shows nothing: for use from Python and in tests."""

    def say(self, what: str | TerminalTable) -> None:
        """Say nothing."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """Move nothing."""
        yield lambda done, total, note: None


class Terminal:
    """One live block of bars, a stage a line, below whatever is said."""

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
        """Print above the bars."""
        _print(self._bars.console, what)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A bar of its own; it stays when the stage is over."""
        bar = self._bars.add_task(visible(name), total=None, note="")

        def advance(done: int, total: int, note: str) -> None:
            self._bars.update(bar, completed=done, total=total, note=visible(note))

        yield advance


def say(what: str | TerminalTable) -> None:
    """Print a sentence or a table to the standard output."""
    _print(Console(), what)


def complain(what: str) -> None:
    """Print what went wrong to the standard error output."""
    _print(Console(stderr=True), what)


def dump(document: str) -> None:
    """Print a document that the engine made, byte for byte, for another program to read."""
    sys.stdout.write(document)


def _print(console: Console, what: str | TerminalTable) -> None:
    if isinstance(what, str):
        console.print(Text(lines(what)), soft_wrap=True)
    else:
        console.print(_drawn(what))


def lines(content: str) -> str:
    """A message of several lines; all but its first are indented, so that none looks like another.

    A name with a line break inside can thus not pretend that the engine says something.
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
