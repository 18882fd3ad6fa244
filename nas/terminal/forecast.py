"""The time that a run still takes: expected stage by stage, and corrected by the time spent."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

_TOLD = 2.0  # seconds of a stage, before which its own pace tells nothing
_SLOWEST = 20.0  # times the expected time, beyond which a pace is no guide to other stages


@dataclass(frozen=True)
class Course:
    """The expected course of a stage.

    Attributes:
        points: Steps done, which rise from point to point, with the seconds that all of them take;
            at least two. Between two points, every step takes the same time.
        telling: Whether the time that the stage really takes corrects what is expected of others.
    """

    points: tuple[tuple[float, float], ...]
    telling: bool = True

    @classmethod
    def even(cls, steps: float, seconds: float, *, telling: bool = True) -> Course:
        """The course of a stage whose steps all take the same time."""
        return cls(((0.0, 0.0), (max(1.0, steps), seconds)), telling)

    def seconds(self, done: float) -> float:
        """The seconds that the first `done` steps take."""
        place = min(max(1, bisect_right([x for x, _ in self.points], done)), len(self.points) - 1)
        (x0, y0), (x1, y1) = self.points[place - 1], self.points[place]
        share = (min(max(done, x0), x1) - x0) / (x1 - x0)
        return y0 + share * (y1 - y0)

    def left(self, done: float) -> float:
        """The seconds that all steps after the first `done` take."""
        return self.points[-1][1] - self.seconds(done)

    def after(self, done: float) -> Course:
        """The course of the same stage when its first `done` steps were taken before."""
        if done <= 0:
            return self
        spent = self.seconds(done)
        later = ((step, seconds - spent) for step, seconds in self.points if step > done)
        return replace(self, points=((0.0, 0.0), (float(done), 0.0), *later))


def course_of(parts: Mapping[tuple[int, int], float]) -> Course:
    """The course of a stage of parts, given as (first step, last step) -> seconds per step."""
    points = [(0.0, 0.0)]
    for (start, end), each in parts.items():
        points.append((end, points[-1][1] + (end - start) * each))
    return Course(tuple(points))


class Forecast:
    """The time left of a run and of its present stage.

    The pace of a stage is its time over the time expected for the same steps. This pace corrects
    what is left of the stage, and the pace of all stages what was expected of later ones.

    Args:
        clock: A function that returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: dict[str, Course] = {}
        self._over: set[str] = set()
        self._spent = self._foretold = 0.0  # of the stages that are over
        self._stage: str | None = None

    def expect(self, courses: Mapping[str, Course]) -> None:
        """Take over what is expected of the stages that are to come, in their order."""
        self._expected |= courses

    def begin(self, stage: str) -> None:
        """A stage begins."""
        self._stage, self._began = stage, self._clock()
        self._first: float | None = None
        self._done = self._total = 0.0

    def advance(self, done: float, total: float) -> None:
        """So many steps of the present stage are done; those of the first call were done before."""
        if self._first is None:
            self._first, self._began = done, self._clock()
        self._done, self._total = done, total

    def end(self) -> float:
        """The present stage is over; returns its seconds."""
        spent, foretold = self._clock() - self._began, self._foretold_here()
        if foretold and self._expected[self._stage or ""].telling:
            self._spent, self._foretold = self._spent + spent, self._foretold + foretold
        if self._stage is not None:
            self._over.add(self._stage)
        self._stage = None
        return spent

    def stage_left(self) -> float | None:
        """The seconds that are left of the present stage; None if nothing is known of them."""
        if self._stage is None or self._first is None:
            course = self._expected.get(self._stage or "")
            return None if course is None else course.left(0) * self._pace()
        spent, course = self._clock() - self._began, self._expected.get(self._stage)
        if course is not None:
            pace = spent / self._foretold_here() if self._tells() else self._pace()
            return pace * course.left(self._done)
        if spent < _TOLD or self._done <= self._first:
            return None
        return spent * (self._total - self._done) / (self._done - self._first)

    def left(self) -> float | None:
        """The seconds that are left of the run; None if nothing is expected of it."""
        if not self._expected:
            return None
        done = self._over | {self._stage or ""}
        later = sum(made.left(0) for name, made in self._expected.items() if name not in done)
        return (self.stage_left() or 0.0) + later * self._pace()

    def _tells(self) -> bool:
        """Whether the present stage has run for long enough to tell its pace."""
        return self._foretold_here() > 0 and self._clock() - self._began >= _TOLD

    def _foretold_here(self) -> float:
        """The seconds that were expected for the steps of the present stage that are done."""
        course = self._expected.get(self._stage or "")
        if course is None or self._first is None:
            return 0.0
        return course.seconds(self._done) - course.seconds(self._first)

    def _pace(self) -> float:
        """The time of all that was expected and is done, over the time expected for that."""
        spent, foretold = self._spent, self._foretold
        course = self._expected.get(self._stage or "")
        if course is not None and course.telling and self._tells():
            spent, foretold = spent + self._clock() - self._began, foretold + self._foretold_here()
        if spent < _TOLD or not foretold:
            return 1.0
        return min(max(spent / foretold, 1 / _SLOWEST), _SLOWEST)


def duration(seconds: float) -> str:
    """A duration in words, such as `40 s`, `12 min` or `1.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
