"""A folder of a user with the name of one of our packages is named, not taken for ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.settings.siblings import PACKAGES

ROOT = Path(__file__).parent.parent
SHOW = "import nas, predictors; print(predictors.__file__)"


def started(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """What a new Python says in `folder`, which it searches for modules first."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("file", ["{}/__init__.py", "{}.py"])
def test_a_folder_or_file_that_hides_a_package_is_named(
    tmp_path: Path, name: str, file: str
) -> None:
    mine = tmp_path / file.format(name)
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("raise SystemExit('imported')")
    given = started(tmp_path, "import nas")
    hidden = mine if mine.parent == tmp_path else mine.parent
    assert given.returncode == 1
    assert f"ImportError: {hidden} hides the package '{name}' of elastic-nas" in given.stderr
    assert "rename it" in given.stderr


def test_what_a_program_has_imported_already_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "predictors.py").write_text("")
    given = started(tmp_path, "import predictors, nas")
    assert f"{tmp_path / 'predictors.py'} hides the package" in given.stderr


def test_a_folder_without_modules_and_later_paths_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "predictors").mkdir()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "predictors.py").write_text("")
    code = f"import sys, nas; sys.path.insert(0, {str(tmp_path / 'later')!r}); {SHOW}"
    given = started(tmp_path, code)
    assert given.returncode == 0, given.stderr
    assert Path(given.stdout.strip()) == ROOT / "predictors" / "__init__.py"
