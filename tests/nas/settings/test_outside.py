"""Somebody else's run folder: nothing outside of it is touched, and nothing in it to read it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.recipe.recipe import Recipe, load_recipe
from nas.run.folder import RunFolder, RunFolderError
from nas.run.run_archive import archive_in
from nas.settings.outside import outside
from tests.nas.runs import assert_refused, evaluations, nas, settings, succeeded


def rewrite(folder: Path, **sections: Any) -> None:
    """Change sections of the recipe in a run folder."""
    path = RunFolder(folder).recipe
    content = json.loads(path.read_bytes())
    for name, value in sections.items():
        content[name] = value if name in ("task", "space") else {**content[name], **value}
    path.write_text(json.dumps(content))


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every entry of a folder with its time, size and content, and the folder's own time."""
    found = {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.stat().st_size,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }
    return {**found, ".": (folder.stat().st_mtime_ns, 0, b"")}


# A database that only the folder names


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Where the folder's recipe wants a file."""
    return tmp_path / "made.db"


@pytest.fixture
def foreign(folder: Path, made: Path) -> Path:
    """A run folder whose recipe names a database."""
    rewrite(folder, search={"archive": f"sqlite:///{made}"})
    return folder


def test_no_command_opens_a_database_that_only_the_folder_names(
    foreign, made, finished, recipe, tmp_path
):
    out = ("--out", tmp_path / "out")
    learn = settings(f"search.transfer={foreign}", "search.searcher=guided")
    calls = [
        ("archive", "export", foreign, tmp_path / "all.csv"),
        ("archive", "merge", foreign, finished),
        ("search", "--from", foreign, "--target", "edge-npu", *out),
        ("spaces", recipe, *out, *learn),
        ("archive", "export", foreign, tmp_path / "all.csv", "--archive", f"sqlite:///{made}x"),
    ]
    before = state(foreign)
    for call in calls:
        assert_refused(nas(*call), str(made), "--archive", "recipe.json")
    merged = nas("archive", "merge", shutil.copytree(finished, tmp_path / "own"), foreign)
    assert_refused(merged, str(made))
    assert not made.exists()
    assert not (tmp_path / "all.csv").exists()
    assert state(foreign) == before


def test_one_that_is_named_is_read_but_not_made(foreign, made, tmp_path):
    given = ("--archive", f"sqlite:///{made}")
    assert_refused(nas("archive", "export", foreign, tmp_path / "all.csv", *given), str(made))
    assert not made.exists()


def test_secrets_in_a_folder_are_not_repeated(folder, tmp_path):
    rewrite(folder, search={"archive": "postgresql://u:hunter2@h/d?password=hunter2"})
    export = ("archive", "export", folder, tmp_path / "all.csv")
    for call in (export, ("search", "--from", folder, "--target", "edge-npu", "--out", tmp_path)):
        outcome = nas(*call)
        assert_refused(outcome, "postgresql://h/d", "PGPASSWORD")
        assert "hunter2" not in outcome.err


@pytest.mark.parametrize("value", [["sqlite:///x.db"], {"a": 1}, 3, "x.db", "sqlite:///{x}"])
def test_what_is_no_url_there_is_refused(folder, tmp_path, value):
    rewrite(folder, search={"archive": value})
    assert_refused(nas("archive", "export", folder, tmp_path / "all.csv"), "recipe.json", "must")


# What else a recipe names


def test_a_recipe_tells_what_it_names_outside(recipe):
    task = '{kind="arrays", path="/data/images.npz"}'
    others = ("compute.ray_address=auto", "search.archive=sqlite:///x.db")
    made = load_recipe(recipe, [f"task={task}", *others, 'space={family="file", path="s.json"}'])
    assert dict(outside(made)) == {
        "task.path": Path("/data/images.npz"),
        "space.path": Path("s.json"),
        "search.archive": "sqlite:///x.db",
        "compute.ray_address": "auto",
    }
    assert not dict(outside(load_recipe(recipe)))
    assert dict(outside(load_recipe(recipe, ['task={kind="openml", name="mnist"}']))) == {
        "task.name": "mnist"
    }


@pytest.mark.parametrize(
    ("sections", "added"),
    [
        ({"task": {"kind": "folder", "path": "/data/my images"}}, "--set task.path='/data/my"),
        ({"task": {"kind": "openml", "name": "mnist"}}, "--set task.name=mnist"),
        ({"compute": {"ray_address": "10.0.0.1:6379"}}, "--set compute.ray_address=10.0.0.1:6379"),
        (
            {"search": {"transfer": "/data/other", "searcher": "guided"}},
            "--set search.transfer=/data/other",
        ),
    ],
)
def test_a_search_from_a_folder_opens_only_what_is_named(folder, tmp_path, sections, added):
    rewrite(folder, **sections)
    call = ("search", "--from", folder, "--target", "edge-npu", "--out", tmp_path / "out")
    assert_refused(nas(*call), added, "recipe.json")
    assert not (tmp_path / "out").exists()


def test_what_is_named_is_opened(recipe, folder, tmp_path):
    none = tmp_path / "none.npz"
    asked = load_recipe(recipe, [f'task={{kind="arrays", path="{none}"}}'])
    rewrite(folder, task=asked.model_dump(mode="json")["task"])
    call = ("search", "--from", folder, "--target", "edge-npu", "--out", tmp_path / "out")
    for named in (f"task.path={none}", f'task={{kind="arrays", path="{none}"}}'):
        assert_refused(nas(*call, *settings(named)), "there is no file", "none.npz")


def test_the_file_of_a_space_that_was_trained_is_needed_no_more(folder, tmp_path):
    rewrite(folder, space={"family": "file", "path": str(tmp_path / "gone.json")})
    out = tmp_path / "out"
    succeeded(nas("search", "--from", folder, "--target", "edge-npu", "--out", out))
    assert evaluations(out) == evaluations(folder)


# Links and pipes


@pytest.mark.parametrize("name", ["archive.journal", "space.json", ".lock", "this-cpu.csv", "x"])
def test_a_link_out_of_the_folder_is_refused(recipe, folder, tmp_path, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    for call in (
        ("run", recipe, "--out", folder, "--resume"),
        ("archive", "export", folder, tmp_path / "all.csv"),
        ("report", folder),
        ("search", "--from", folder, "--target", "edge-npu", "--out", tmp_path / "out"),
        ("spaces", recipe, "--out", folder),
    ):
        assert_refused(nas(*call), str(folder / name), "leads out", "copy")
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_within_it_is_none_of_our_business(folder):
    (folder / "latest.html").symlink_to("report.html")
    (folder / "round").symlink_to("round")
    assert RunFolder(folder).require_own() is None, "nothing is refused"
    assert (folder / "latest.html").is_symlink()


def test_a_pipe_in_its_place_is_refused(folder, tmp_path):
    (folder / "space.json").unlink()
    os.mkfifo(folder / "space.json")
    assert_refused(nas("archive", "export", folder, tmp_path / "all.csv"), "neither a file nor")


# Reading writes nothing


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """As somebody for whom permissions count: root has all of them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked(finished: Path) -> Iterator[tuple[Path, Path]]:
    """A finished run that nobody may write, and a folder that all may."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        folder = Path(shutil.copytree(finished, home / "run"))
        for path in folder.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        folder.chmod(0o555)
        (home / "out").mkdir()
        (home / "out").chmod(0o777)
        yield folder, home / "out"
        folder.chmod(0o755)


def test_a_folder_that_may_only_be_read_is_read(locked, finished, monkeypatch):
    folder, out = locked
    before, known = state(folder), evaluations(finished)
    with without_rights():
        with pytest.raises(PermissionError):
            (folder / "x").write_text("x")
        succeeded(nas("archive", "export", folder, out / "all.csv"))
        succeeded(nas("report", folder, "--out", out / "report.html"))
        assert_refused(nas("report", folder), "cannot write")
        with monkeypatch.context() as patch:
            patch.delattr(fcntl, "flock")
            assert archive_in(folder).evaluations() == known
        new = ("--target", "edge-npu", "--out", out / "new")
        succeeded(nas("search", "--from", folder, *new))
    assert state(folder) == before
    assert len((out / "all.csv").read_text().splitlines()) == 1 + len(known)
    assert evaluations(out / "new") == known


def test_a_torn_end_is_passed_over_and_left(folder, finished, tmp_path):
    path = RunFolder(folder).archive
    path.write_bytes(path.read_bytes()[:-20])
    before = state(folder)
    assert archive_in(folder).evaluations() == evaluations(finished)[:-1]
    assert state(folder) == before


def test_an_archive_that_may_not_be_read_is_named(locked):
    folder, out = locked
    (folder / "archive.journal").chmod(0)
    with without_rights():
        outcome = nas("archive", "export", folder, out / "all.csv")
    assert_refused(outcome, "archive.journal", "cannot be read", "Permission denied")
    folder.chmod(0o311)
    with without_rights():
        assert_refused(nas("archive", "export", folder, out / "all.csv"), "cannot read the run")


def test_others_files_stay_in_a_folder_that_is_opened(recipe: Path, tmp_path: Path) -> None:
    others = [".film.mp4.part", ".notes.1.part", ".weights.partial"]
    for name in others:
        (tmp_path / name).write_text("of somebody else")
    asked: Recipe = load_recipe(recipe)
    with RunFolder(tmp_path).open(asked, resume=False):
        assert all((tmp_path / name).exists() for name in others)


def test_a_missing_folder_has_no_archive(tmp_path):
    with pytest.raises(RunFolderError, match="holds no archive"):
        archive_in(tmp_path / "none")
