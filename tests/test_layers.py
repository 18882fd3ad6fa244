"""The rooms of the engine: imports only point down, and each big library has one door."""

import ast
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
DOORS = {"pymoo": 1, "ray": 1, "optuna": 2, "onnxruntime": 1, "openvino": 0}  # imported by name


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


def test_search_spaces_load_without_torch():
    for path in (ROOT / "search_spaces").rglob("*.py"):
        assert "torch" not in {name.split(".")[0] for name in imports(path)}, path


@pytest.mark.parametrize("library", DOORS)
def test_each_big_library_has_one_door(library):
    users = [p for p in modules() if library in {name.split(".")[0] for name in imports(p)}]
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
