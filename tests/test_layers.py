"""The rooms of the engine: imports only point down, and each big library has one door."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "search_spaces": {"search_spaces"},
    "supernets": {"supernets", "search_spaces"},
    "predictors": {"predictors", "search_spaces"},
    "nas": {"nas", "supernets", "predictors", "search_spaces"},
}
# The rooms of `nas/`, from the roof down: a room imports those behind it, and the loose files.
ROOMS = (
    *("testing", "cli", "drafting", "api", "run", "report", "recipe", "tabular", "own"),
    *("search", "archive", "problem", "evaluation", "profiling", "export", "targets", "tasks"),
    *("facts", "settings", "terminal", "files"),
)
LOOSE = {"callable_room", "memory", "ort", "parts"}
DOORS = {
    "pymoo": 1,
    "ray": 1,
    "optuna": 2,
    "onnxruntime": 1,
    "moocore": 1,
    "openvino": 0,
}  # imported by name
ALONE = (
    ROOT / "nas" / "export" / "predict.py"
)  # copied beside exported files, of which it is no part


def modules() -> list[Path]:
    return sorted(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_point_down(path):
    rooms = {name.split(".")[0] for name in imports(path)} & {*MAY_IMPORT, "tests", "benchmarks"}
    assert rooms <= MAY_IMPORT[room_of(path)]


def rooms_read(path: Path) -> Iterator[str]:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "nas" and len(parts) > 1 and parts[1] not in LOOSE:
            yield parts[1]


@pytest.mark.parametrize("place", range(len(ROOMS)), ids=ROOMS)
def test_rooms_of_the_engine_read_what_is_below_them(place):
    for path in (ROOT / "nas" / ROOMS[place]).rglob("*.py"):
        assert {*rooms_read(path)} <= {*ROOMS[place:]}, path


def test_the_picture_of_rooms_has_their_order():
    picture = (ROOT / "docs" / "design.md").read_text().split("```")[1]
    assert [name for name in re.findall(r"(\w+)/", picture) if name in ROOMS] == [*ROOMS]


def test_nothing_else_lies_at_the_top_of_the_engine():
    held = {path.stem for path in (ROOT / "nas").glob("*.py")}
    assert held == LOOSE | {"__init__", "__main__"}
    folders = {path.parent.name for path in (ROOT / "nas").glob("*/__init__.py")}
    assert folders == {*ROOMS}
    for name in LOOSE:
        assert {*rooms_read(ROOT / "nas" / f"{name}.py")} == set(), name


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("nas", {"torch", "numpy", "scipy", "pandas", "pydantic", "ray", "optuna", "nas.api"}),
        ("nas.run.folder", {"torch", "pymoo", "optuna", "sklearn"}),
        ("nas.targets", {"torch", "pymoo", "optuna", "onnx"}),
        ("nas.settings.toml_file", {"torch", "scipy", "pymoo"}),
        ("nas.recipe.recipe", {"scipy", "sklearn", "pymoo", "optuna", "sqlalchemy", "networkx"}),
        ("nas.run.pipeline", {"scipy", "sklearn", "pymoo", "optuna", "sqlalchemy", "networkx"}),
        ("nas.run.pipeline", {"plotly", "ray"}),
        ("nas.cli.main", {"torch", "numpy", "scipy", "sklearn", "pymoo", "optuna"}),
        ("nas.cli.main", {"onnx", "onnxruntime", "plotly", "networkx", "sqlalchemy", "ray"}),
    ],
)
def test_what_needs_no_heavy_library_loads_none(module, absent):
    script = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert absent.isdisjoint(loaded)


def test_search_spaces_load_without_torch():
    for path in (ROOT / "search_spaces").rglob("*.py"):
        assert "torch" not in {name.split(".")[0] for name in imports(path)}, path


@pytest.mark.parametrize("library", DOORS)
def test_each_big_library_has_one_door(library):
    users = [
        p
        for p in modules()
        if p != ALONE and library in {name.split(".")[0] for name in imports(p)}
    ]
    assert len(users) <= DOORS[library], users


def test_no_import_cycle():
    names = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in modules()
    }
    graph = nx.DiGraph()
    for name, path in names.items():
        for read in imports(path):
            if read in names and read != name:
                graph.add_edge(name, read)
    assert [*nx.simple_cycles(graph)] == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            prose = len((ast.get_docstring(node) or "").splitlines())
            assert (node.end_lineno or 0) - node.lineno + 1 - prose <= 45, node.name
