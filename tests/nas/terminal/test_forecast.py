"""The time left of a run follows from what was expected of it and from the time spent."""

from __future__ import annotations

import pytest

from nas.terminal.forecast import Course, Forecast, course_of, duration


class Clock:
    """A clock that goes on only when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def forecast(clock: Clock) -> Forecast:
    made = Forecast(clock)
    # Ten steps of 1 s and ten of 3 s, then a search of five steps of 2 s.
    train = course_of({(0, 10): 1.0, (10, 20): 3.0})
    made.expect({"train": train, "search": Course.even(5, 10.0)})
    return made


def test_steps_of_a_part_take_the_time_of_the_part():
    train = course_of({(0, 10): 1.0, (10, 20): 3.0})
    assert [train.seconds(done) for done in (0, 5, 10, 15, 20, 99)] == [0, 5, 10, 25, 40, 40]
    assert train.left(15) == 15


def test_what_a_checkpoint_holds_is_no_longer_left():
    resumed = course_of({(0, 10): 1.0, (10, 20): 3.0}).after(15)
    assert (resumed.left(0), resumed.left(15), resumed.left(18)) == (15, 15, 6)


def test_before_the_first_stage_all_is_left(forecast: Forecast):
    assert forecast.left() == 50
    assert Forecast().left() is None


def test_a_stage_corrects_itself_and_those_after_it(forecast: Forecast, clock: Clock):
    forecast.begin("train")
    forecast.advance(0, 20)
    clock.now += 20  # twice as long as expected
    forecast.advance(10, 20)
    assert forecast.stage_left() == 60
    assert forecast.left() == 60 + 20


def test_a_resumed_stage_counts_from_where_it_began(clock: Clock):
    forecast = Forecast(clock)
    forecast.expect({"train": Course.even(100, 100.0).after(90)})
    forecast.begin("train")
    assert forecast.left() == 10
    forecast.advance(90, 100)
    clock.now += 15
    forecast.advance(95, 100)
    assert forecast.stage_left() == pytest.approx(15)


def test_a_stage_that_is_over_corrects_the_next(forecast: Forecast, clock: Clock):
    forecast.begin("train")
    forecast.advance(0, 20)
    clock.now += 20
    forecast.advance(20, 20)
    assert forecast.end() == 20
    assert forecast.left() == 5
    forecast.begin("search")
    assert forecast.stage_left() == 5


def test_a_stage_that_tells_nothing_of_others_corrects_itself_alone(clock: Clock):
    forecast = Forecast(clock)
    forecast.expect({"profile": Course.even(4, 4.0, telling=False), "train": Course.even(9, 9.0)})
    forecast.begin("profile")
    forecast.advance(0, 4)
    clock.now += 20
    forecast.advance(2, 4)
    assert (forecast.stage_left(), forecast.left()) == (20, 29)
    forecast.end()
    assert forecast.left() == 9


def test_the_first_instants_tell_nothing(forecast: Forecast, clock: Clock):
    forecast.begin("train")
    forecast.advance(0, 20)
    clock.now += 1
    forecast.advance(1, 20)
    assert forecast.left() == 39 + 10


def test_a_stage_of_which_nothing_is_expected_goes_by_its_own_pace(clock: Clock):
    forecast = Forecast(clock)
    forecast.begin("sweep")
    assert forecast.stage_left() is None
    forecast.advance(2, 10)
    clock.now += 8
    forecast.advance(4, 10)
    assert (forecast.stage_left(), forecast.left()) == (24, None)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_in_words(seconds: float, words: str):
    assert duration(seconds) == words
