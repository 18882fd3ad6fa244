"""What is shown where the output is no terminal, where silence is asked for, and for programs."""

from __future__ import annotations

import json

import pytest

from nas.terminal.display import Manner, TerminalTable, say, speak
from nas.terminal.forecast import Course
from nas.terminal.plain import Lines, terminal_display
from tests.nas.terminal.test_forecast import Clock


@pytest.fixture(autouse=True)
def _in_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    yield
    speak(Manner.WORDS)


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_line_as_a_stage_begins_every_minute_and_as_it_ends(capsys):
    clock = Clock()
    lines = Lines(clock=clock)
    lines.expect({"train": Course.even(100, 200.0), "search": Course.even(10, 60.0)})
    with lines.stage("train") as advance:
        for done in range(1, 101):
            advance(done, 100, "loss 0.5")
            clock.now += 2
    assert told(capsys) == [
        "train: begins, about 3 min left, run about 4 min left",
        "train: 31 of 100, about 2 min left, run about 3 min left, loss 0.5",
        "train: 61 of 100, about 78 s left, run about 2 min left, loss 0.5",
        "train: 91 of 100, about 18 s left, run about 78 s left, loss 0.5",
        "train: over after 3 min, 100 of 100, run about 61 s left, loss 0.5",
    ]


def test_a_stage_that_fails_is_not_over(capsys):
    def fail() -> None:
        with Lines().stage("train"):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fail()
    assert told(capsys) == ["train: begins"]


def test_every_message_is_a_record_for_programs(capsys):
    speak(Manner.JSON)
    table = TerminalTable(("target", "cost"), title="costs")
    table.add_row("a", "1")
    with terminal_display() as display, display.stage("train") as advance:
        display.say("a sentence\nof two lines")
        display.say(table)
        advance(2, 4, "loss")
    say("the end")
    begun, sentence, shown, over, end = map(json.loads, told(capsys))
    assert (begun["stage"], begun["state"]) == ("train", "begins")
    assert sentence == {"message": "a sentence\nof two lines"}
    assert shown == {"table": "costs", "rows": [{"target": "a", "cost": "1"}]}
    assert (over["state"], over["done"], over["total"], over["note"]) == ("over", 2, 4, "loss")
    assert end == {"message": "the end"}


def test_warnings_and_results_are_left_where_silence_is_asked_for(capsys):
    speak(Manner.QUIET)
    with terminal_display() as display, display.stage("train") as advance:
        advance(1, 2, "loss")
        display.say("Training takes a while.")
        display.say("look at this: nothing was learnt")
    say("the result")
    out, err = capsys.readouterr()
    assert (out, err) == ("the result\n", "look at this: nothing was learnt\n")
    assert not display.timed
