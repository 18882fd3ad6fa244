"""A run foresees its stages, apart from those that its folder holds or that nobody asks for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from nas.recipe.recipe import load_recipe
from nas.run.findings import fits
from nas.run.folder import RunFolder
from nas.run.pipeline import WHOLE
from nas.run.plan import Plan, prepare
from nas.run.steps import estimating, offering
from nas.run.steps.estimating import foresee
from nas.terminal.display import Silent, TerminalTable
from nas.terminal.forecast import Course
from supernets.training.pace import parts
from supernets.training.step import TrainingStep
from tests.nas.runs import TINY


class Recorded(Silent):
    """A display that keeps what it is told."""

    timed = True

    def __init__(self) -> None:
        self.said: list[str] = []
        self.courses: dict[str, Course] = {}

    def say(self, what: str | TerminalTable) -> None:
        self.said.append(str(what))

    def expect(self, courses: Mapping[str, Course]) -> None:
        self.courses |= courses


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    path = tmp_path / "tiny.toml"
    path.write_text(f"{TINY}\n[[targets]]\nname = 'this-cpu'\n")
    (tmp_path / "tiny").mkdir()
    return prepare(load_recipe(path), RunFolder(tmp_path / "tiny"))


@pytest.fixture
def _second_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of a training takes a second."""

    def paces(made: TrainingStep, *, samples: int, done: int) -> dict[tuple[int, int], float]:
        return {part: 1.0 for part in parts(made.context.plan) if part[1] > done}

    monkeypatch.setattr(estimating, "paces", paces)


def foreseen(plan: Plan, *, steps: tuple[str, ...] = WHOLE) -> Recorded:
    display = Recorded()
    foresee(plan, display, steps=steps)
    return display


@pytest.mark.usefixtures("_second_steps")
def test_every_stage_of_a_new_run_is_foreseen(plan: Plan):
    told = foreseen(plan)
    assert [*told.courses] == [
        *("profile", "seams", "calibrate", "train", "probe", "search", "export", "report")
    ]
    assert told.courses["train"].left(0) == 16  # 4 epochs of 128 samples in batches of 32
    assert told.courses["search"].points[-1][0] == 8
    (words,) = told.said
    assert words.startswith("The run takes about ")
    assert "train 16 s" in words


@pytest.mark.usefixtures("_second_steps")
def test_a_resumed_training_is_foreseen_without_its_checkpoint(plan: Plan, monkeypatch):
    monkeypatch.setattr(estimating, "steps_done", lambda path: 13)
    course = foreseen(plan, steps=("train",)).courses["train"]
    assert (course.left(0), course.left(13), course.left(15)) == (3, 3, 1)


def test_what_the_folder_holds_takes_no_time(plan: Plan):
    plan.files.supernet.write_bytes(b"")
    plan.files.probe.write_bytes(b"")
    plan.files.calibration.write_bytes(b"")
    told = foreseen(plan)
    assert [*told.courses] == ["profile", "search", "export", "report"]
    assert told.said[0] == "The supernet is trained already."


@pytest.mark.parametrize(
    ("steps", "stages"),
    [
        ((), ["profile", "seams", "calibrate"]),
        (("export",), ["profile", "seams", "calibrate", "export", "report"]),
    ],
)
def test_only_the_stages_asked_for_are_foreseen(plan: Plan, steps, stages):
    assert [*foreseen(plan, steps=steps).courses] == stages


def test_the_report_takes_the_time_of_all_fits_of_its_predictor(plan: Plan, monkeypatch):
    class Slow:
        def fit(self, genotypes, losses):
            time.sleep(0.01)

    monkeypatch.setattr(offering, "predictor_with", lambda plan: Slow())
    monkeypatch.setattr(estimating, "_PAGE_S", 0.0)
    search = plan.recipe.search.model_copy(update={"budget": 400, "batch": 10})
    recipe = plan.recipe.model_copy(update={"search": search})
    report = foreseen(replace(plan, recipe=recipe), steps=("export",)).courses["report"]
    after = fits(400, 10)
    assert after == [20, 30, 40, 50, 70, 90, 120, 150, 190, 240, 300, 380]
    assert report.left(0) >= 0.01 * len(after)
    assert fits(20, 10) == [], "no batch is left to be predicted"


def test_nothing_is_timed_for_a_display_that_does_not_tell(plan: Plan, monkeypatch):
    timed: list[object] = []
    monkeypatch.setattr(estimating, "paces", lambda *given, **_: timed.append(given) or {})
    foresee(plan, Silent(), steps=WHOLE)
    assert not timed


def test_a_busy_machine_is_taken_into_account(plan: Plan, monkeypatch):
    monkeypatch.setattr(estimating, "crowding", lambda: 1.0)
    alone = foreseen(plan, steps=()).courses
    monkeypatch.setattr(estimating, "crowding", lambda: 3.0)
    crowded = foreseen(plan, steps=()).courses
    assert crowded["profile"].left(0) == pytest.approx(3 * alone["profile"].left(0))
