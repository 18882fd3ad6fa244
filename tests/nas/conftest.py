"""What the tests of whole runs share: a recipe of seconds and the folder of its finished run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.nas.runs import TINY, nas, succeeded


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    succeeded(nas("run", recipe, "--out", folder))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run's folder, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
