"""What nobody can hold is refused with the numbers, before any work."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from nas import memory
from nas.run.steps import room
from nas.tabular import TableError
from nas.tabular.columns import read_files
from tests.nas.runs import TINY, assert_refused, nas, settings, succeeded


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def options(count: int) -> str:
    return f"[{', '.join(map(str, range(4, 4 + count)))}]"


@pytest.mark.parametrize("widths", ["[[4], [65536]]", "[[4, 6], [6, 65536]]"])
def test_weights_that_do_not_fit_are_refused_before_training(
    recipe: Path, tmp_path: Path, widths: str
) -> None:
    made = settings(f"space.widths={widths}")
    outcome = nas("run", recipe, *made, "--out", tmp_path / "run")
    assert_refused(outcome, "weights", "takes at least 6,039 GB of memory", "smaller widths")
    assert not (tmp_path / "run" / "training.safetensors").exists()


def test_a_batch_that_does_not_fit_is_refused(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda: 200_000)
    outcome = nas("run", recipe, "--out", tmp_path / "run")
    assert_refused(outcome, "in batches of 32", "there are 0.0002 GB", "training.batch_size")


def test_more_than_half_of_the_memory_is_told(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda: 2_000_000)
    outcome = nas("train", recipe, "--out", tmp_path / "run")
    succeeded(outcome)
    assert "Training takes at least 0.00133 GB of 0.002 GB of memory" in " ".join(
        outcome.out.split()
    )


def test_a_file_that_onnx_cannot_hold_is_refused(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_LARGEST_ONNX", 1000)
    outcome = nas("run", recipe, "--out", tmp_path / "run")
    assert_refused(outcome, "an ONNX file holds 1e-06 GB", "fewer bits")


@pytest.mark.parametrize(
    "overrides",
    [
        (f"space.widths=[{options(1000)}, {options(1000)}]",),
        (f"space.kernels=[{', '.join(map(str, range(1, 600, 2)))}]", "space.widths=[[4, 6], [8]]"),
    ],
    ids=("widths", "kernels"),
)
def test_a_space_that_cannot_be_planned_is_refused(
    recipe: Path, overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search_spaces.lookups.LARGEST_TABLE", 2000)
    outcome = nas("spaces", recipe, *settings(*overrides))
    assert_refused(outcome, "combinations", "fewer options")


def test_many_nodes_of_some_forms_each_are_refused_too(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search_spaces.costs.LARGEST_SPACE", 100)
    assert_refused(nas("spaces", recipe), "more than 100 forms in all", "fewer options")


def test_a_table_of_more_cells_than_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "nets.csv"
    path.write_text("a,b\n" + "1,2\n" * 1000)
    monkeypatch.setattr(memory, "memory_limit", lambda: 100_000)
    with pytest.raises(TableError, match=r"some 2,002 cells.*memory"):
        read_files([path], None)


def test_the_least_of_all_limits_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory.memory_limit()
    assert whole > 1 << 26
    monkeypatch.setattr(resource, "getrlimit", lambda _: (12_345, 12_345))
    assert memory.memory_limit() == 12_345
    assert memory.shortage(12_345) == ""
    assert "takes at least 1.23e-05 GB" in memory.shortage(12_346)
