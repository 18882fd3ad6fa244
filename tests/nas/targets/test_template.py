"""Tables to fill in: the kernels that need a figure, and what a half-filled table is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.profiling.timing import device_name
from nas.targets import TargetError, load_target
from nas.targets.coverage import of_space
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import Row
from nas.targets.template import write_template
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from tests.nas.runs import nas

BOARD = """
name = "board"
device = "a board on the desk"
runtime = "kernels of our own"
provenance = "PROVENANCE"
otherwise = "refuse"
fusion = [["Conv2d", "BatchNorm2d", "Activation"], ["Conv2d", "BatchNorm2d"], ["Add", "Activation"]]
table = "board.csv"

[[supports]]
operators = ["Conv2d", "Linear"]
formats = ["int4xint8", "int8xint8"]

[[supports]]
operators = ["Add", "GlobalPool"]
formats = ["int8"]

[[supports]]
operators = ["Activation", "BatchNorm2d"]
formats = ["int8", "float"]
"""
EMPTY = re.compile(r",,,\n")
FLOATS = Policy(weight_bits=(None,), activation_bits=(None,), edge_bits=None)
LEAST = Policy(weight_bits=(2, 4, 8), activation_bits=(8,))


def network(policy: Policy) -> SearchSpace:
    image = Input("image", (1, 8, 8))
    return residual((image,), (2,), widths=((4, 6), (6,)), depths=((1,),), policy=policy)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return network(LEAST)


@pytest.fixture(params=["measured", "imported", "simulated"])
def board(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return described(tmp_path, request.param)


def described(folder: Path, provenance: str = "measured") -> Path:
    path = folder / "board.toml"
    path.write_text(BOARD.replace("PROVENANCE", provenance))
    return path


def filled(text: str, latency: Callable[[int], str] = lambda row: f",{row / 8},,\n") -> str:
    """A template whose rows, from 1, have latencies."""
    counted = iter(range(1, text.count("\n")))
    return EMPTY.sub(lambda _: latency(next(counted)), text)


def test_a_template_once_filled_in_is_the_table(board: Path, space: SearchSpace) -> None:
    lacking = load_target(board, unmeasured=True)
    needed = [*of_space(lacking, space).missing]
    table = board.with_suffix(".csv")
    assert write_template(table, lacking, space) == (0, len(needed))
    table.write_text(filled(table.read_text()))
    target = load_target(board)
    assert target.device == "a board on the desk"
    assert LatencyTable.read(table).rows == {
        key: Row(n / 8, spread_ms=0.0, count=1) for n, key in enumerate(needed, 1)
    }
    assert not of_space(target, space).missing


def test_a_half_filled_template_is_told_which_rows_are_empty(
    tmp_path: Path, space: SearchSpace
) -> None:
    board, table = described(tmp_path), tmp_path / "board.csv"
    write_template(table, load_target(board, unmeasured=True), space)
    text = table.read_text()
    rows, above = len(EMPTY.findall(text)), text[: EMPTY.search(text).start()].count("\n")
    empty = {1, 2, 3, 5}
    table.write_text(filled(text, lambda row: ",,,\n" if row in empty else ",0.5,,\n"))
    with pytest.raises(TargetError) as refusal:
        load_target(board)
    lines = f"in lines {above + 1} to {above + 3}, {above + 5}"
    assert f"4 of {rows} rows have no latency_ms yet, {lines}" in str(refusal.value)


def test_rows_that_are_there_are_kept_and_no_file_is_replaced(
    tmp_path: Path, space: SearchSpace
) -> None:
    board, table, more = described(tmp_path), tmp_path / "board.csv", tmp_path / "more.csv"
    first, *others = of_space(load_target(board, unmeasured=True), space).missing
    LatencyTable({first: Row(0.25, 0.01, 9, 2.0)}, {"clock": "fixed"}).write(table)
    target = load_target(board)
    assert write_template(more, target, space) == (1, len(others))
    more.write_text(more.read_text().replace(",,,,\n", ",0.5,,,3\n"))
    found = LatencyTable.read(more)
    assert found.rows[first] == Row(0.25, 0.01, 9, 2.0)
    assert {found.rows[key] for key in others} == {Row(0.5, 0.0, 1, 3.0)}
    assert found.notes["clock"] == "fixed"
    before = more.read_bytes()
    with pytest.raises(TargetError, match="exists, and a template replaces no file"):
        write_template(more, target, space)
    assert more.read_bytes() == before
    full = load_target(board, table=more)
    assert write_template(tmp_path / "none.csv", full, space) == (len(found.rows), 0)
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize(
    ("name", "out", "told"),
    [
        ("edge-npu", "t.csv", "is analytical and has no latency table"),
        ("this-cpu", "t.parquet", "a template is a CSV file"),
    ],
)
def test_templates_that_make_no_sense_are_refused(
    tmp_path: Path, space: SearchSpace, name: str, out: str, told: str
) -> None:
    with pytest.raises(TargetError, match=told):
        write_template(tmp_path / out, load_target(name), space)


def test_a_target_that_runs_no_network_gets_no_template(tmp_path: Path) -> None:
    target = load_target(described(tmp_path), unmeasured=True)
    with pytest.raises(TargetError, match="board refuses node"):
        write_template(tmp_path / "t.csv", target, network(FLOATS))


def test_the_command_writes_a_template_and_check_accepts_it(
    tmp_path: Path, space: SearchSpace
) -> None:
    board, table, source = described(tmp_path), tmp_path / "board.csv", tmp_path / "s.json"
    source.write_text(space.to_json())
    given = nas("targets", "template", source, "--target", board, "--out", table)
    assert given.code == 0, given.err
    rows = len(EMPTY.findall(table.read_text()))
    assert f"{rows} rows to fill in" in given.out
    half = nas("targets", "check", board, "--space", source)
    assert half.code == 1
    assert f"{rows} of {rows} rows have no latency_ms yet" in half.err
    table.write_text(filled(table.read_text()))
    checked = nas("targets", "check", board, "--space", source)
    assert checked.code == 0, checked.err
    assert f"figures for {rows} of {rows} kernels" in checked.out
    assert "refused in every choice: 2 bits" in checked.out
    again = nas("targets", "template", source, "--target", board, "--out", tmp_path / "b.csv")
    assert "nothing to fill in" in again.out


@pytest.mark.parametrize("device", ["a board on the desk", "here"])
def test_check_lists_all_kernels_and_never_has_a_board_timed_here(
    tmp_path: Path, space: SearchSpace, device: str
) -> None:
    board, source = described(tmp_path), tmp_path / "s.json"
    source.write_text(space.to_json())
    first, *others = of_space(load_target(board, unmeasured=True), space).missing
    notes = {"device": device_name() if device == "here" else device}
    LatencyTable({first: Row(0.25, 0.01, 9)}, notes).write(tmp_path / "board.csv")
    given = nas("targets", "check", board, "--space", source)
    assert given.code == 1
    assert [f"no row for {key}" for key in others if str(key) not in given.out] == []
    assert f"{len(others)} of {len(others) + 1} kernels have no figure" in given.err
    assert ("nas profile" in given.err) == (device == "here")
    assert ("nas targets template" in given.err) == (device != "here")


def test_check_fails_where_no_network_runs(tmp_path: Path) -> None:
    source = tmp_path / "s.json"
    source.write_text(network(FLOATS).to_json())
    given = nas("targets", "check", "microcontroller", "--space", source)
    assert given.code == 1
    assert "microcontroller refuses node" in given.err
