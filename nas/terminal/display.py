"""Output on the terminal: progress bars, sentences and tables; all text goes through this module.

Text is shown literally: square brackets are no markup, and control characters are shown by their
escapes.
"""

from __future__ import annotations

import contextlib
import enum
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import rich.table
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from nas.terminal.forecast import Course, Forecast, duration
from nas.terminal.untrusted import visible

_CONTINUED = "  "
_WIDEST_WORD = 16  # of a heading, up to which a narrow terminal does not break the word


class Manner(enum.Enum):
    """The manner in which the command line speaks, for the whole process.

    In words, with progress; in words, results and warnings only; or in lines of JSON.
    """

    WORDS = enum.auto()
    QUIET = enum.auto()
    JSON = enum.auto()


_manner = Manner.WORDS


def speak(manner: Manner) -> None:
    """Let all output of this process have a manner from now on."""
    global _manner  # noqa: PLW0603  # a process has one standard output
    _manner = manner


def manner() -> Manner:
    """The manner of this process."""
    return _manner


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
    """A display on which a run shows its progress and its messages.

    Attributes:
        timed: Whether the display tells how long a run takes, so that this must be found out.
    """

    @property
    def timed(self) -> bool: ...  # noqa: D102  # documented above

    def say(self, what: str | TerminalTable) -> None:
        """Show a sentence or a table."""
        ...

    def expect(self, courses: Mapping[str, Course]) -> None:
        """Take over how long each stage to come is expected to take, in the order of stages."""
        ...

    def stage(self, name: str) -> contextlib.AbstractContextManager[Advance]:
        """A context for a stage of the run; it yields the function that moves the stage's bar."""
        ...


class Silent:
    """A display that shows nothing, for use from Python and in tests."""

    timed = False

    def say(self, what: str | TerminalTable) -> None:
        """Show nothing."""

    def expect(self, courses: Mapping[str, Course]) -> None:
        """Expect nothing."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A context that yields a function without effect."""
        yield lambda done, total, note: None


class Terminal:
    """A display on the terminal: one progress bar per stage, below all sentences and tables."""

    timed = True

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<8}", markup=False),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=Console(),
        )
        self._forecast = Forecast()

    def __enter__(self) -> Terminal:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def expect(self, courses: Mapping[str, Course]) -> None:
        """Take over how long each stage to come is expected to take."""
        self._forecast.expect(courses)

    def say(self, what: str | TerminalTable) -> None:
        """Print a sentence or a table above the bars."""
        _print(self._bars.console, what)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A context for a stage with a bar of its own, which stays when the stage is over."""
        self._forecast.begin(name)
        left = left_in_words(self._forecast)
        bar = self._bars.add_task(visible(name), total=None, note="", left=left)

        def advance(done: int, total: int, note: str) -> None:
            self._forecast.advance(done, total)
            left = left_in_words(self._forecast)
            self._bars.update(bar, completed=done, total=total, note=visible(note), left=left)

        yield advance
        self._forecast.end()
        self._bars.update(bar, left="")


def left_in_words(forecast: Forecast) -> str:
    """The time left of the present stage and of the run, as far as known, else an empty text."""
    told = {"": forecast.stage_left(), "run ": forecast.left()}
    return ", ".join(f"{what}{duration(s)} left" for what, s in told.items() if s)


def say(what: str | TerminalTable) -> None:
    """Print a sentence or a table to the standard output."""
    if _manner is not Manner.JSON:
        _print(Console(), what)
    elif isinstance(what, str):
        dump_record({"message": what})
    else:
        rows = [dict(zip(what.header, row, strict=True)) for row in what.rows]
        dump_record({"table": what.title, "rows": rows})


def in_terminal() -> bool:
    """Whether the standard output is a terminal."""
    return Console().is_terminal


def complain(what: str) -> None:
    """Print a message about an error to the standard error output."""
    _print(Console(stderr=True), what)


def dump(document: str) -> None:
    """Print a document unchanged to the standard output, for another program to read."""
    sys.stdout.write(document)
    sys.stdout.flush()


def dump_record(record: Mapping[str, object]) -> None:
    """Print a record as a line of JSON to the standard output."""
    dump(f"{json.dumps(record)}\n")


def _print(console: Console, what: str | TerminalTable) -> None:
    if isinstance(what, str):
        console.print(Text(lines(what)), soft_wrap=True)
        return
    if what.title:
        console.print(Text(visible(what.title)), soft_wrap=True)
    console.print(_drawn(what))


def lines(content: str) -> str:
    """A message of several lines, of which all but the first are indented.

    A foreign name with a line break inside can then not look like a message of the engine.
    """
    first, *others = map(visible, content.split("\n"))
    indented = (line if line.startswith(_CONTINUED) else f"{_CONTINUED}{line}" for line in others)
    return "\n".join([first, *indented])


def _drawn(table: TerminalTable) -> rich.table.Table:
    """The table without its title; nothing is cut off where a terminal is narrow.

    Lines between columns would take the room of a column in a terminal of 80 characters.
    """
    drawn = rich.table.Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, heading in enumerate(table.header):
        drawn.add_column(
            Text(visible(heading)),
            justify="right" if column in table.numeric else "left",
            no_wrap=column in table.whole,
            overflow="fold",
            min_width=min(_WIDEST_WORD, max(map(len, heading.split()), default=0)),
        )
    for row in table.rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    return drawn
