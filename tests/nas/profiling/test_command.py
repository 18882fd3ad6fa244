"""`nas profile` from the command line: here, elsewhere, and back into a target for recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.profiling.elsewhere import read_manifest
from nas.targets import load_target
from nas.targets.correction.correction import calibration_of
from nas.targets.table.latency_table import LatencyTable
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from tests.nas.profiling.test_elsewhere import run_script
from tests.nas.runs import TINY, assert_refused, nas, settings, succeeded
from tests.nas.spaces import tiny_space
from tests.nas.targets.test_template import LEAST, described, network

FAST = ("--budget-ms", 1)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    path = tmp_path / "space.json"
    path.write_text(tiny_space().to_json())
    return path


def test_a_table_of_its_own_is_at_once_a_target(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeeded(given := nas("profile", recipe, "--out", tmp_path / "mine.csv", *FAST))
    assert "kernels" in given.out
    target = load_target(tmp_path / "mine.toml")
    assert (target.name, target.provenance) == ("mine", "measured")
    assert "onnxruntime" in target.runtime
    monkeypatch.chdir(tmp_path)
    named = settings("targets=[{name='mine.toml'}]")
    succeeded(shown := nas("spaces", recipe, *named))
    assert "mine" in shown.out
    assert "100%" in shown.out


def test_a_second_call_measures_nothing_anew_and_keeps_the_target(
    space_file: Path, tmp_path: Path
) -> None:
    table, target = tmp_path / "mine.csv", tmp_path / "mine.toml"
    succeeded(nas("profile", space_file, "--out", table, *FAST))
    kept = table.read_bytes()
    target.write_text(target.read_text().replace('source = "', 'source = "my board, '))
    succeeded(given := nas("profile", space_file, "--out", table, *FAST))
    assert "0 to measure" in given.out
    assert table.read_bytes() == kept
    assert load_target(target).source.startswith("my board")


def test_a_table_is_calibrated_with_whole_networks(recipe: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    succeeded(given := nas("profile", recipe, "--out", table, *FAST, "--calibrate", 5))
    assert "5 whole networks" in given.out
    found = calibration_of(load_target(tmp_path / "mine.toml"))
    assert found is not None
    assert found.error.networks == len(found.networks) == 5


def test_a_target_file_says_where_its_table_is(space_file: Path, tmp_path: Path) -> None:
    succeeded(nas("profile", space_file, "--out", tmp_path / "mine.csv", *FAST))
    whole = LatencyTable.read(tmp_path / "mine.csv")
    LatencyTable(dict([*whole.rows.items()][:3]), whole.notes).write(tmp_path / "mine.csv")
    succeeded(nas("profile", space_file, "--target", tmp_path / "mine.toml", *FAST))
    assert set(LatencyTable.read(tmp_path / "mine.csv").rows) == set(whole.rows)


def test_measured_elsewhere_it_is_the_same_table_under_the_devices_name(
    space_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "board"
    sending = ("profile", space_file, "--backend", "elsewhere", "--out", folder)
    succeeded(given := nas(*sending))
    assert "python measure.py" in given.out
    unread = nas("profile", space_file, "--read", folder, "--out", tmp_path / "there.csv")
    assert_refused(unread, "there is no file", "results.csv", "run measure.py")
    assert run_script(folder, "--device", "my board").returncode == 0
    succeeded(nas("profile", space_file, "--read", folder, "--out", tmp_path / "there.csv"))
    succeeded(nas("profile", space_file, "--out", tmp_path / "here.csv", *FAST))
    there, here = (load_target(tmp_path / f"{name}.toml") for name in ("there", "here"))
    assert there.device == "my board"
    rows = [LatencyTable.read(tmp_path / f"{name}.csv").rows for name in ("there", "here")]
    assert set(rows[0]) == set(rows[1])
    space = SearchSpace.from_json(space_file.read_text())
    assert set(there.compile(space)) == set(here.compile(space))


def test_a_folder_holds_every_width_of_the_target_or_it_is_told(tmp_path: Path) -> None:
    board, source, folder = described(tmp_path), tmp_path / "s.json", tmp_path / "board"
    board.write_text(board.read_text().replace('"int4xint8"', '"int2xint8", "int4xint8"'))
    source.write_text(network(LEAST).to_json())
    options = ("--target", board, "--backend", "elsewhere", "--out", folder)
    succeeded(given := nas("profile", source, *options))
    assert "left out: Conv2d at int2xint8; no ONNX file holds" in given.out
    assert "nas targets template" in given.out
    assert {key.weight for key in read_manifest(folder).keys.values()} == {"int4", "int8", ""}


def test_this_machine_is_never_timed_into_the_table_of_a_board(tmp_path: Path) -> None:
    board, source = described(tmp_path), tmp_path / "s.json"
    source.write_text(network(LEAST).to_json())
    refused = nas("profile", source, "--target", board)
    assert_refused(refused, "a board on the desk", "this machine", "--backend elsewhere")
    assert not board.with_suffix(".csv").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), ("is a space, not a recipe", "--out TABLE.csv")),
        (("--threads", 2), ("say where the table goes",)),
        (("--out", "folder", "--threads", 2), ("must name a table NAME.csv",)),
        (("--out", "my table.csv"), ("must name a table NAME.csv", "letters")),
        (("--out", "none/t.csv"), ("create the folder first",)),
        (("--out", "t.csv", "--backend", "tvm"), ("'tvm'", "onnxruntime", "elsewhere")),
        (("--out", "t.csv", "--device", "cuda"), ("on cpu here", "'cuda'", "--backend torch")),
        (("--out", "t.csv", "--backend", "torch", "--device", "tpu"), ("'tpu'", "cuda:0")),
        (("--out", "t.csv", "--backend", "torch", "--device", "cuda:99"), ("torch sees",)),
        (("--out", "t.csv", "--backend", "torch", "--dtype", "int4"), ("'int4'", "bfloat16")),
        (("--out", "t.csv", "--target", "none"), ("'none' is not known", "this-cpu")),
        (("--out", "t.csv", "--read", "none"), ("holds no manifest.json",)),
        (("--out", "t.csv", "--set", "seed=1"), ("--set changes a recipe",)),
        (("--backend", "elsewhere"), ("--out FOLDER",)),
    ],
)
def test_what_cannot_be_done_is_told_first(
    space_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
    said: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(nas("profile", space_file, *options), *said)
    assert [path.name for path in tmp_path.iterdir()] == ["space.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is no JSON"), ("[]", "must be an object"), (json.dumps({"format": 1}), "is missing")],
)
def test_a_file_that_holds_no_space(space_file: Path, content: str, said: str) -> None:
    space_file.write_text(content)
    given = nas("profile", space_file, "--out", space_file.with_suffix(".csv"))
    assert_refused(given, f"search space {space_file}", said, "to_json")


def test_a_sample_is_measured_and_the_others_are_predicted(tmp_path: Path) -> None:
    space = tmp_path / "space.json"
    space.write_text(varied_space().to_json())
    table = tmp_path / "mine.csv"
    succeeded(given := nas("profile", space, "--out", table, "--sample", 64, *FAST))
    assert "at the 90th percentile" in " ".join(given.out.split())
    counts = [row.count for row in LatencyTable.read(table).rows.values()]
    assert 0 in counts
    assert load_target(tmp_path / "mine.toml").compile(varied_space())
    refused = nas("profile", space, "--out", tmp_path / "b.csv", "--sample", 2, *FAST)
    assert_refused(refused, "too small", "or more")


def varied_space() -> SearchSpace:
    """A space with more kernels than a test has time for."""
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        widths=((4, 8, 12, 16), (8, 16, 24, 32)),
        depths=((1, 2),),
        kernels=(1, 3, 5),
        policy=Policy(weight_bits=(8,), activation_bits=(8,)),
    )
