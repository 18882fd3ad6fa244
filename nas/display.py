"""What a run shows while it works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Advance(Protocol):
    """Moves a bar: how much is done, how much there is, and a word on how it goes."""

    def __call__(self, done: int, total: int, note: str) -> None:
        """Set how far the stage is."""
        ...


class Display(Protocol):
    """Where a run says what it does."""

    def say(self, what: RenderableType) -> None:
        """Show a sentence, a table or a panel."""
        ...

    def stage(self, name: str) -> contextlib.AbstractContextManager[Advance]:
        """A stage of the run, with a bar that the yielded function moves."""
        ...


class Silent:
    """Shows nothing: for use from Python and in tests."""

    def say(self, what: RenderableType) -> None:
        """Say nothing."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """Move nothing."""
        yield lambda done, total, note: None


class Terminal:
    """One live block of bars, a stage a line, below whatever is said.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
        )

    def __enter__(self) -> Terminal:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, what: RenderableType) -> None:
        """Print above the bars."""
        self._bars.print(what)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A bar of its own; it stays when the stage is over."""
        bar = self._bars.add_task(name, total=None, note="")

        def advance(done: int, total: int, note: str) -> None:
            self._bars.update(bar, completed=done, total=total, note=note)

        yield advance
