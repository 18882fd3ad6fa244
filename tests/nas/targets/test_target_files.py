"""Target files: each mistake is named with file, key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.targets import TargetError, load_target
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.targets.target_files import DEVICES
from search_spaces.documents import UnreadableFile

EDGE = (DEVICES / "edge-npu.toml").read_text()
CPU = (DEVICES / "this-cpu.toml").read_text()
PEAKS = 'gmacs_per_s = { "int4xint4" = 12.8'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "edge-npu"', 'nam = "edge-npu"', "nam: no such key"),
        ('name = "edge-npu"', "", "name: missing"),
        ('"analytical"', '"guessed"', "provenance = 'guessed': .*'measured'.*'analytical'"),
        ('"container"', '"drop"', "otherwise = 'drop': .*'container' or 'refuse'"),
        ("overhead_us = 2.0", "overhead_us = -2.0", "roofline.overhead_us = -2.0: .*greater"),
        ("overhead_us = 2.0", "overhead_us = nan", "roofline.overhead_us: holds nan, .*finite"),
        ("overhead_us = 2.0", 'overhead_us = "2 us"', "roofline.overhead_us = '2 us': .*number"),
        ('["Linear", "Act', '["Liner", "Act', "fusion.6.0 = 'Liner': no such operator; known"),
        ('"int4xint4", ', '"4by4", ', "formats.0 = '4by4': formats are written"),
        ('formats = ["int8", "float"]', 'bits = ["8x8"]', "Add takes formats as single names"),
        (PEAKS, 'gmacs_per_s = { "2x2" = 12.8', "gmacs_per_s must hold exactly the native formats"),
        ("[roofline]", "[roofline]\nbit_serial = true", "give one pair only"),
        ('"GlobalPool"', '"Linear"', "supports names Linear more than once"),
        ("DepthwiseConv2d = 0.25", "DepthwiseConv2d = 1.5", "DepthwiseConv2d = 1.5: .*less than"),
        ('otherwise = "container"', 'otherwise = "container"\ntable = "t.csv"', "only those do"),
        ("[[supports]]", "[[supports]", "line .*is no TOML"),
        ("[roofline]", "[memory]\nmodel_bytes = 9\n[roofline]", "memory.model_bytes: no such key"),
        (
            "[roofline]",
            "[memory]\nflash_bytes = 9\ntotal_bytes = 9\n[roofline]",
            "total_bytes is one memory for model and activations",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in EDGE
    path = tmp_path / "mine.toml"
    path.write_text(EDGE.replace(old, new, 1))
    with pytest.raises((TargetError, UnreadableFile), match=expected) as caught:
        load_target(path)
    assert str(path) in str(caught.value)


def test_every_mistake_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(EDGE.replace("overhead_us = 2.0", "overhead_us = -1\nspeed = 3"))
    with pytest.raises(TargetError, match=r"(?s)overhead_us.*speed"):
        load_target(path)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        TargetError, match=r"'pixel9' is not known; available are bit-serial, datacentre"
    ):
        load_target("pixel9")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UnreadableFile, match="cannot be read"):
        load_target("/nowhere/mine.toml")


def test_a_table_lies_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(CPU.replace('"measured"', '"imported"'))
    key = KernelKey("GlobalPool", "", "8x4x4", "", "", "int8")
    table = LatencyTable({key: Row(0.25, 0.01, 9)}, {"device": "a phone"})
    table.write(tmp_path / "this-cpu.csv")
    target = load_target(tmp_path / "mine.toml")
    assert isinstance(target.model, LatencyTable)
    assert target.model.rows == table.rows
    assert (target.provenance, target.device) == ("imported", "a phone")


@pytest.mark.parametrize("torn", ["Conv2d,8x4x4,16", "# device: x\noperator,in"])
def test_a_measured_table_may_be_torn_by_a_kill(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "t.csv"
    key = KernelKey("GlobalPool", "", "8x4x4", "", "", "int8")
    kept = {} if torn.startswith("#") else {key: Row(0.25, 0.01, 9)}
    LatencyTable(kept, {"device": "d"}).write(path)
    path.write_text((path.read_text() if kept else "") + torn)
    target = load_target("this-cpu", table=path)
    assert isinstance(target.model, LatencyTable)
    assert target.model.rows == kept


def test_an_imported_target_must_have_its_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CPU.replace('"measured"', '"imported"'))
    with pytest.raises(TargetError, match=r"latency table: there is no file .*this-cpu\.csv"):
        load_target(path)


def test_an_analytical_target_takes_no_table(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="takes no latency table"):
        load_target("edge-npu", table=tmp_path / "t.csv")
