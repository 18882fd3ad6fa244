"""Displays without bars: lines for pipes and logs, records for programs, and near silence."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from nas.terminal.display import (
    Advance,
    Display,
    Manner,
    Silent,
    Terminal,
    TerminalTable,
    complain,
    dump_record,
    in_terminal,
    manner,
    say,
)
from nas.terminal.forecast import Course, Forecast, duration

_EVERY_S = 60.0
_WARNINGS = ("warning:", "look at this:")


@dataclass(frozen=True)
class StageNews:
    """What is told of a stage.

    Attributes:
        stage: The name of the stage.
        state: Whether the stage begins, goes on or is over.
        done: The steps that are done.
        total: All steps; 0 before the first step.
        seconds: The time since the stage began.
        left_seconds: The time that the stage still takes, if that is known.
        run_left_seconds: The time that the run still takes, if that is known.
        note: A short note, such as losses.
    """

    stage: str
    state: Literal["begins", "goes on", "over"]
    done: int
    total: int
    seconds: float
    left_seconds: float | None
    run_left_seconds: float | None
    note: str


class Lines:
    """A display of lines: as a stage begins, every minute, and as it ends.

    Args:
        tell: A function that tells the news of a stage; by default a sentence.
        clock: A function that returns the time in seconds.
    """

    timed = True

    def __init__(
        self,
        tell: Callable[[StageNews], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._clock = tell or _in_words, clock
        self._forecast = Forecast(clock)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, what: str | TerminalTable) -> None:
        """Print a sentence or a table."""
        say(what)

    def expect(self, courses: Mapping[str, Course]) -> None:
        """Take over how long each stage to come is expected to take."""
        self._forecast.expect(courses)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A context for a stage, whose progress is told in lines."""
        begun = told = self._clock()
        latest: tuple[int, int, str] = (0, 0, "")

        def news(state: Literal["begins", "goes on", "over"]) -> None:
            nonlocal told
            told = self._clock()
            left, run_left = self._forecast.stage_left(), self._forecast.left()
            done, total, note = latest
            self._tell(StageNews(name, state, done, total, told - begun, left, run_left, note))

        def advance(done: int, total: int, note: str) -> None:
            nonlocal latest
            latest = done, total, note
            self._forecast.advance(done, total)
            if self._clock() - told >= _EVERY_S:
                news("goes on")

        self._forecast.begin(name)
        news("begins")
        yield advance
        self._forecast.end()
        news("over")


def _in_words(news: StageNews) -> None:
    left = {"": news.left_seconds, "run ": news.run_left_seconds}
    times = [f"{what}about {duration(s)} left" for what, s in left.items() if s]
    share = f"{news.done} of {news.total}" if news.total else ""
    match news.state:
        case "begins":
            parts = ["begins", *times]
        case "goes on":
            parts = [share, *times, news.note]
        case "over":
            parts = [f"over after {duration(news.seconds)}", share, *times, news.note]
    say(f"{news.stage}: {', '.join(part for part in parts if part)}")


def _as_record(news: StageNews) -> None:
    dump_record(asdict(news))


class Quiet(Silent):
    """A display that shows warnings alone, on the standard error output."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, what: str | TerminalTable) -> None:
        """Show a warning; other sentences and tables are left out."""
        if isinstance(what, str) and what.startswith(_WARNINGS):
            complain(what)


def terminal_display() -> contextlib.AbstractContextManager[Display]:
    """The display of a command: of the manner of this process, with bars in a terminal only."""
    match manner():
        case Manner.QUIET:
            return Quiet()
        case Manner.JSON:
            return Lines(_as_record)
        case Manner.WORDS:
            return Terminal() if in_terminal() else Lines()
