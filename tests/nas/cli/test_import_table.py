"""`nas targets import`: from a foreign file to a target that a recipe can name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nas.cli.main import app
from nas.targets import TargetError, load_target
from nas.targets.adapters import ADAPTERS
from nas.targets.adapters.options import adapter

HAQ = "layer,w_bits,a_bits,latency_cycles\n0,8,8,1620752\n1,8,8,-5\n77,8,8,1\n"


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["targets", "import", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return " ".join(result.output.split())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "haq.csv"
    path.write_text(HAQ)
    return path


def test_a_table_becomes_a_target(table: Path, tmp_path: Path) -> None:
    said = run("haq", table, "--out", tmp_path / "made", "--set", "clock_mhz=200")
    assert "2 kernels and 0 whole networks, simulated" in said
    assert "not mapped: 1 (line 4): layer 77" in said
    assert "found: negative: 1" in said
    target = load_target(tmp_path / "made" / "haq.toml")
    assert (target.name, target.provenance) == ("haq", "simulated")
    assert target.notes["clock"] == "200 MHz, given by the user"


def test_the_formats_are_listed_with_units_and_provenance() -> None:
    said = run("--list")
    for name in ADAPTERS:
        assert name in said
    assert "simulated" in said
    assert "predicted" in said


def test_whole_networks_are_told_but_make_no_target(tmp_path: Path) -> None:
    names = "latency_mean_encoder,latency_mean_decoder,latency_std_encoder,latency_std_decoder"
    path = tmp_path / "hat.csv"
    path.write_text(f"embed,{names}\n512,9.5,110.0,0.1,2.0\n")
    assert "1 whole networks" in run("hat", path, "--out", tmp_path)
    assert not (tmp_path / "hat.toml").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("clock=200",), "takes OPTION=VALUE with one of clock_mhz"),
        (("clock_mhz",), "takes OPTION=VALUE"),
        (("clock_mhz=fast",), "option clock_mhz of format haq = 'fast'"),
        ((), "in cycles and clock_mhz is None"),
        (("clock_mhz=-1",), "clock_mhz is -1.0"),
        (("clock_mhz=nan",), "clock_mhz is nan"),
    ],
)
def test_wrong_options_are_told(table: Path, settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(TargetError, match=said):
        adapter(ADAPTERS, "haq", settings).read(table)


def test_unknown_formats_and_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"format 'tflite' is not known; there are ofa"):
        run("tflite", tmp_path / "x")
    with pytest.raises(TargetError, match="--list names the formats"):
        run()
    with pytest.raises(TargetError, match="cannot be read"):
        run("hat", tmp_path / "absent.csv")


@pytest.mark.parametrize("name", ["../up", "/tmp/up", ".hidden", "a/b", "", "sp ace"])
def test_a_target_stays_within_its_folder(table: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "made"
    with pytest.raises(TargetError, match="name"):
        run("haq", table, "--out", out, "--name", name, "--set", "clock_mhz=200")
    assert not list(tmp_path.rglob("*.toml"))


def test_nothing_is_overwritten(table: Path, tmp_path: Path) -> None:
    words = ("haq", table, "--out", tmp_path, "--name", "mine", "--set", "clock_mhz=200")
    run(*words)
    with pytest.raises(TargetError, match="there already"):
        run(*words)


def test_foreign_words_cannot_act_on_spreadsheets_or_terminals(tmp_path: Path) -> None:
    record = {
        "op_type": "Int8ConvRelu",
        "op_args": ['name: "stride"\ni: 2\n'],
        "input_shapes": [[1, 224, 224, 3], [32, 3, 3, 3], [32]],
        "device": '=cmd|"/c calc"!A1\n\x1b[2J, =1+1 "quoted"',
        **{f"runtime_us_{p}": 960.0 for p in ("p0", "p10", "p50", "p90", "p100")},
    }
    path = tmp_path / "records.json"
    path.write_text(json.dumps(record) + "\n")
    assert "\x1b" not in run("fbnet", path, "--out", tmp_path, "--name", "phone")
    target = load_target(tmp_path / "phone.toml")
    assert target.device == '=cmd|"/c calc"!A1 [2J, =1+1 "quoted"'
    cells = (tmp_path / "phone.csv").read_text().replace(";", ",").replace("\n", ",").split(",")
    assert not [cell for cell in cells if cell.strip()[:1] in ("=", "+", "-", "@")]
