"""The code of docs/python.md: every block runs as it stands there, one after the other."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import nas

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "python.md").read_text()
ROW = re.compile(r"^\| (`.*?`(?:, `.*?`)*) \|", re.MULTILINE)


@pytest.fixture(scope="module")
def defined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("page")
    for path in (ROOT / "examples" / "table").glob("nets.*"):
        shutil.copy(path, folder)
    names: dict[str, Any] = {"__name__": __name__, "folder": folder}
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for block in re.finditer(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
            before = PAGE.count("\n", 0, block.start(1))
            exec(compile("\n" * before + block[1], "docs/python.md", "exec"), names)
    return names


def test_searches_of_the_page_have_fronts(defined: dict[str, Any]) -> None:
    front = defined["front"]
    assert list(front.columns[:2]) == ["error", "latency_ms"]
    assert (len(defined["study"]), len(defined["trained"]), len(defined["simulated"])) == (
        40,
        10,
        10,
    )
    assert list(defined["measured"].front()["error"].sort_values()) != []
    assert "depth_used" in defined["measured"].frame()
    assert {"latency_ms", "error"} <= {*defined["trained"].front().columns}


def test_a_search_of_the_page_goes_on_and_another_keeps_failures(defined: dict[str, Any]) -> None:
    assert len(defined["longer"]) > 0
    reasons = {failure.reason for failure in defined["tried"].failures}
    assert reasons == {"raised MemoryError: no room for the batch"}


def test_the_goal_of_the_page_has_the_memory_of_its_board(defined: dict[str, Any]) -> None:
    assert defined["by_size"].limits == defined["board"].limits


def test_the_run_of_the_page_has_a_front_and_a_report(defined: dict[str, Any]) -> None:
    run = defined["run"]
    front = run.front()
    assert list(front.columns[:2]) == ["error", "latency_ms"]
    assert (
        front["genotype"]
        .map(lambda genotype: run.space.picks(genotype)["layers"])
        .equals(front["layers"].astype(int))
    )
    assert run.report.exists()
    folder = defined["folder"] / "results" / "networks"
    assert repr(run) == f"<Run 'networks' in {folder}: 20 networks; one_image>"
    assert "one_image" in run._repr_html_()
    assert run.plot().data


def test_every_argument_is_explained() -> None:
    listed = re.findall(r"`(\w+)`", "".join(ROW.findall(PAGE)))
    known = {*inspect.signature(nas.search).parameters} - {"space", "objective", "targets"}
    assert set(listed) == known
