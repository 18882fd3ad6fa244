"""A user's own parts: one of each kind, named in one recipe, also with the wheel alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("nas", "search_spaces", "supernets", "predictors")
FENCED = re.compile(r"^```(toml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the example, outside of the repository."""
    return Path(shutil.copytree(ROOT / "examples" / "own_parts", tmp_path / "own"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what the engine depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    building = ("pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q")
    called(sys.executable, "-m", *building, "-w", folder, source, cwd=folder)
    called(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "env" / "lib" / version / "site-packages"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(packages)
    # The dependencies, but no repository: files like this one in that folder are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    python = folder / "env" / "bin" / "python"
    found = called(python, "-c", "import nas; print(nas.__file__)", cwd=folder)
    assert found.strip() == str(packages / "nas" / "__init__.py")
    return python


def called(*words: str | Path, cwd: Path, path: Path | None = None) -> str:
    """What a call says that must succeed; `path` is where it finds further packages."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"RAY_AUTH_MODE": "disabled"} | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,  # what it says is shown
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_complete(place: Path, *, workers: int) -> None:
    """The run in `place` named every part, and told of each."""
    results = json.loads((place / "mine" / "results.json").read_text())["results"]
    assert results["recipe"]["python"] == [str(place / "mine.py")]
    assert results["space"]["name"] == "two-layers"
    assert set(results["proxies"]) <= {"params", "macs", "spread"}
    journal = (place / "mine" / "archive.journal").read_text()
    assert len({*re.findall(r"[\w.-]+:\d+:cpu", journal)}) == max(1, workers)
    space = (place / "mine" / "space.json").read_text()
    assert '"$spec": "mine:Softsign"' in space
    for suffix in (".onnx", ".gz"):
        assert (place / "mine" / f"board{suffix}").stat().st_size > 0
    report = (place / "mine" / "report.html").read_text()
    assert "mean absolute error" in report
    assert "gzipped-onnx" in report


def test_one_recipe_names_a_part_of_each_kind(place: Path) -> None:
    called(sys.executable, "-m", "nas", "run", "mine.toml", cwd=place, path=ROOT)
    assert_complete(place, workers=0)


@pytest.mark.slow
def test_the_wheel_alone_runs_them(installed: Path, place: Path) -> None:
    called(installed, "-m", "nas", "run", "mine.toml", cwd=place)
    assert_complete(place, workers=0)
    listed = called(installed, "-m", "nas", "parts", "--recipe", "mine.toml", cwd=place)
    for name in ("Softsign", "two-layers", "wave", "huber", "neighbours", "bayesian-linear"):
        assert name in listed


@pytest.mark.slow
def test_the_wheel_says_where_it_comes_from(installed: Path) -> None:
    script = "from importlib.metadata import metadata; print(metadata('elastic-nas'))"
    told = called(installed, "-c", script, cwd=installed.parent)
    assert "Project-URL: Source, https://" in told
    assert "Classifier: Programming Language :: Python :: 3.13" in told
    links = re.findall(r"\]\((.*?)\)", told)
    assert len(links) > 10
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.slow
def test_the_wheel_alone_brings_the_recipes(installed: Path, tmp_path: Path) -> None:
    for name in ("digits", "table", "own-parts"):
        called(installed, "-m", "nas", "init", "--example", name, cwd=tmp_path)
    for recipe in ("digits.toml", "table.toml", "mine.toml"):
        told = called(installed, "-m", "nas", "spaces", recipe, cwd=tmp_path)
        assert "distinct networks" in told


@pytest.mark.slow
@pytest.mark.ray
def test_the_wheel_alone_runs_them_on_two_workers(installed: Path, place: Path) -> None:
    pytest.importorskip("ray")
    workers = ("--set", "compute.workers=2", "--set", "search.asynchronous=false")
    called(installed, "-m", "nas", "run", "mine.toml", *workers, cwd=place)
    assert_complete(place, workers=2)


@pytest.mark.slow
def test_the_wheel_alone_runs_the_blocks_of_the_guide(installed: Path, tmp_path: Path) -> None:
    for number, block in enumerate(FENCED.finditer((ROOT / "docs" / "extend.md").read_text())):
        language, code = block.groups()
        name = f"test_block{number}.py" if language == "python" else code.splitlines()[0][2:]
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    told = called(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".", cwd=tmp_path)
    assert "passed" in told
