"""A user's own modules: what a recipe imports, and that no run folder runs code unasked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas import parts
from nas.parts import PartError, Parts
from nas.recipe.recipe import load_recipe
from nas.settings import own_modules
from nas.settings.own_modules import import_modules, imported_modules
from tests.nas.runs import TINY, assert_refused, nas, settings, succeeded

MODULE = """
from pathlib import Path
from nas.parts import register
from nas.search.context import plain
from nas.search.local import LocalSearch

Path(__file__).with_name("it_ran").touch()

class Mine(LocalSearch):
    pass


register("searcher", "mine-local")(plain(Mine, initial=4))
"""


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that a test imports or registers is left to others."""
    monkeypatch.setattr(own_modules, "_imported", {})
    monkeypatch.setitem(parts._registered, "searcher", {})
    before = {*sys.modules}
    yield
    for name in {"own_parts_of_a_test"} & ({*sys.modules} - before):
        del sys.modules[name]


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "theirs" / "own_parts_of_a_test.py"
    path.parent.mkdir()
    path.write_text(MODULE)
    return path


def ran(module: Path) -> bool:
    return module.with_name("it_ran").exists()


@pytest.fixture
def own(module: Path) -> Path:
    """A recipe of the user's own that names the module, and a searcher of this module."""
    path = module.with_name("mine.toml")
    path.write_text(f'python = ["./{module.name}"]\n' + TINY.replace('"random"', '"mine-local"'))
    return path


@pytest.fixture
def foreign(folder: Path, module: Path) -> Path:
    """The folder of a finished run whose recipe names the module."""
    content = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**content, "python": [str(module)]}))
    return folder


def test_a_recipe_imports_its_modules_before_it_is_read(own, module):
    recipe = load_recipe(own)
    assert recipe.search.searcher == "mine-local"
    assert recipe.python == (str(module),)
    assert imported_modules() == (str(module),)
    assert load_recipe(own) == recipe
    assert "own_parts_of_a_test" in Parts("searcher").where("mine-local")


def test_its_parts_are_listed(own):
    outcome = nas("parts", "searcher", "--recipe", own)
    succeeded(outcome)
    assert "mine-local" in outcome.out
    assert "guided" in outcome.out


def test_the_keys_of_spaces_are_listed():
    outcome = nas("parts", "space")
    succeeded(outcome)
    assert "feature_mix" in " ".join(outcome.out.split())
    assert_refused(nas("parts", "spaces"), "no kind of parts 'spaces'; there are operator, space")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("absent.py", None, "there is no such file; correct the path"),
        ("my-parts.py", "", "names no module; give the name of an installed module"),
        ("json.py", "", "there is another module 'json', .*json/__init__.py; rename your file"),
        ("own_parts_of_a_test.py", "1 / 0", "cannot be imported: ZeroDivisionError: division"),
        ("own_parts_of_a_test.py", "raise SystemExit", "cannot be imported: SystemExit"),
        ("no_such_module.parts", None, "cannot be imported: ModuleNotFoundError"),
        ("os; print()", None, "names no module"),
    ],
)
def test_what_cannot_be_imported_is_refused(tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text)
    before = {*sys.modules}
    with pytest.raises(PartError, match=told):
        import_modules([name], beside=tmp_path)
    assert "own_parts_of_a_test" not in {*sys.modules} - before
    assert imported_modules() == ()


def test_two_files_of_one_name_are_refused(module, tmp_path):
    import_modules([module.name], beside=module.parent)
    (tmp_path / module.name).write_text("")
    with pytest.raises(PartError, match=r"another module 'own_parts_of_a_test'.*rename your file"):
        import_modules([module.name], beside=tmp_path)


def test_python_must_list_texts(own):
    outcome = nas("spaces", own, "--set", "python=3")
    assert_refused(outcome, "python = 3: must be a list")


FROM = ("--target", "edge-npu")


def test_no_run_folder_runs_code_unasked(foreign, module, recipe, tmp_path):
    told = ("names modules of its author", str(module), "add --trust")
    new = ("--out", tmp_path / "new")
    assert_refused(nas("search", "--from", foreign, *FROM, *new), *told)
    assert_refused(nas("run", recipe, "--resume", "--out", foreign), *told)
    assert_refused(nas("export", recipe, "--out", foreign), *told)
    assert_refused(nas("archive", "export", foreign, tmp_path / "all.csv"), *told)
    assert_refused(nas("archive", "seal", foreign), *told)
    learning = settings(f"search.transfer={foreign}", "search.searcher=guided")
    assert_refused(nas("spaces", recipe, *learning, *new), *told)
    assert not ran(module)
    assert "own_parts_of_a_test" not in sys.modules


def test_a_trusted_folder_is_read_with_its_modules(foreign, module, tmp_path):
    succeeded(nas("archive", "export", foreign, tmp_path / "all.csv", "--trust"))
    assert ran(module)


def test_trust_ends_with_the_command(foreign, module, tmp_path):
    succeeded(nas("archive", "export", foreign, tmp_path / "all.csv", "--trust"))
    del sys.modules["own_parts_of_a_test"]
    assert_refused(nas("archive", "export", foreign, tmp_path / "all.csv"), "add --trust")


def test_what_the_recipe_at_hand_imports_needs_no_trust(foreign, own):
    succeeded(nas("run", own, "--resume", "--out", foreign))
    assert json.loads((foreign / "recipe.json").read_text())["search"]["searcher"] == "mine-local"
