"""The run folder: whose it is, and what may change from one start to the next."""

from __future__ import annotations

import json
import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from nas.recipe.recipe import Recipe, load_recipe, validate_recipe
from nas.run.folder import RunFolder, RunFolderError


@pytest.fixture
def asked(recipe: Path) -> Recipe:
    return load_recipe(recipe)


def test_opening_makes_the_folder_and_keeps_the_recipe(asked, tmp_path):
    with RunFolder(tmp_path / "a" / "b").open(asked, resume=False) as files:
        assert validate_recipe(json.loads(files.recipe.read_text())) == asked


def test_a_folder_without_work_belongs_to_no_recipe(recipe, asked, tmp_path):
    with RunFolder(tmp_path).open(asked, resume=False):
        pass
    with RunFolder(tmp_path).open(load_recipe(recipe, ["seed=4"]), resume=False) as files:
        assert json.loads(files.recipe.read_text())["seed"] == 4


@pytest.mark.parametrize("made", ["training", "supernet", "probe", "archive", "results"])
def test_a_folder_with_work_is_only_resumed(asked, tmp_path, made):
    files = RunFolder(tmp_path)
    with files.open(asked, resume=False):
        getattr(files, made).write_text("something")
    with (
        pytest.raises(RunFolderError, match="already holds a run"),
        files.open(asked, resume=False),
    ):
        pass
    with files.open(asked, resume=True):
        pass


def test_a_measured_table_alone_is_no_run(asked, tmp_path):
    files = RunFolder(tmp_path)
    files.table.write_text("rows")
    with files.open(asked, resume=False):
        assert files.table.read_text() == "rows"


def test_a_refused_recipe_leaves_the_one_that_was_there(recipe, asked, tmp_path):
    files = RunFolder(tmp_path)
    with files.open(asked, resume=False):
        files.supernet.write_text("weights")
    other = load_recipe(recipe, ["seed=4", "training.momentum=0.5"])
    with (
        pytest.raises(RunFolderError, match="another seed and training"),
        files.open(other, resume=True),
    ):
        pass
    assert json.loads(files.recipe.read_text())["seed"] == 0


def test_how_subnets_are_measured_is_free_until_one_is(recipe, asked, tmp_path):
    files = RunFolder(tmp_path)
    other = load_recipe(recipe, ["search.calibration_samples=32"])
    with files.open(asked, resume=False):
        files.supernet.write_text("weights")
    with files.open(other, resume=True):
        files.archive.write_text("evaluations")
    with (
        pytest.raises(RunFolderError, match=r"another search\.calibration_samples"),
        files.open(asked, resume=True),
    ):
        pass


def test_only_one_at_a_time_and_the_refused_one_changes_nothing(recipe, asked, tmp_path):
    files, left = RunFolder(tmp_path), tmp_path / f".space.json.{'1' * 32}.part"
    with files.open(asked, resume=False):
        left.write_text("in work")
        with (
            pytest.raises(RunFolderError, match="another process"),
            files.open(load_recipe(recipe, ["seed=4"]), resume=False),
        ):
            pass
        assert left.exists()
        assert json.loads(files.recipe.read_text())["seed"] == 0
    with files.open(asked, resume=False):
        assert not left.exists()


def _hold(folder: Path, recipe: Path, held: Event) -> None:
    with RunFolder(folder).open(load_recipe(recipe), resume=False):
        held.set()
        multiprocessing.Event().wait()


def test_a_killed_process_leaves_no_lock(recipe, asked, tmp_path):
    context = multiprocessing.get_context("forkserver")
    held = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, recipe, held))
    process.start()
    assert held.wait(60)
    with pytest.raises(RunFolderError), RunFolder(tmp_path).open(asked, resume=False):
        pass
    process.kill()
    process.join()
    with RunFolder(tmp_path).open(asked, resume=False):
        pass
