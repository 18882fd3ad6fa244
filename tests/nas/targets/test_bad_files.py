"""Whatever a target file or a table holds: it is read whole, or refused in one sentence."""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.targets import HardwareTarget, TargetError, load_target
from nas.targets.table import latency_table
from nas.targets.table.columns import COLUMNS
from nas.targets.table.csv_file import heading, line
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.targets.target_files import DEVICES, read_target_file
from search_spaces.documents import UnreadableFile
from search_spaces.ops import Input
from search_spaces.residual import residual

GPU = (DEVICES / "datacentre-gpu.toml").read_text()
CPU = (DEVICES / "this-cpu.toml").read_text()
ASSIGNMENTS = [text for text in GPU.splitlines() if " = " in text and text.isascii()]
VALUES = [
    *("nan", "inf", "-inf", "-1", "0", "1e400", "5e-324", "9" * 5000, "true", "[]", "{}", '""'),
    *("[[1]]", "[1, 'a']", "{ a = 1 }", "1979-05-27", "07:32:00", '"8x8"', '"2..1"', '["8x8"]'),
    *('"=1+1"', '"\\u202e"', '"\\u0000"', '"../t.csv"', '["Conv3d"]', '"é"', '{ "8x8" = nan }'),
    *('{ "1..32x1..32" = 1 }', '{ "8x8" = 1, "2..8x8" = 2 }', "0x7fffffffffffffff", '"\\t"'),
]
SPACE = residual((Input("image", (1, 8, 8)),), (2,), widths=((8,), (8,)), depths=((1,),))
RELU = "Activation(function=relu)"
KEYS = [
    KernelKey("Conv2d", "out=16,kernel=3", f"{n}x4x4", RELU, "int8", "int8") for n in range(1, 5)
]
ROWS = {key: Row(0.5, 0.01, 20, 0.25) for key in KEYS}
NOTES = {"device": "a phone, +49 é", "threads": "1"}


def read_or_refused(read: Callable[[Path], object], content: bytes | str, suffix: str) -> object:
    """What comes of a file; its path is in the message where it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            return read(path)
        except (TargetError, UnreadableFile) as refusal:
            message = str(refusal)
        assert str(path) in message
        return None


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_no_target_file(content: bytes) -> None:
    assert read_or_refused(load_target, content, ".toml") is None


@settings(deadline=None)
@given(st.integers(0, len(GPU) - 1))
def test_a_truncated_target_file_is_read_or_refused(end: int) -> None:
    found = read_or_refused(load_target, GPU[:end], ".toml")
    assert found is None or (isinstance(found, HardwareTarget) and found.name == "datacentre-gpu")


@settings(deadline=None, max_examples=40)  # each compiles a space, 0.1 s
@given(st.sampled_from(ASSIGNMENTS), st.sampled_from(VALUES))
def test_any_value_is_used_or_refused(assignment: str, value: str) -> None:
    key = assignment.partition(" = ")[0]
    found = read_or_refused(load_target, GPU.replace(assignment, f"{key} = {value}", 1), ".toml")
    if isinstance(found, HardwareTarget):
        latency = found.compile(SPACE)["latency_ms"](
            SPACE.sample_array(np.random.default_rng(0), 2)
        )
        assert (latency > 0).all()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a = " + "[" * 100_000, "nested more than 64 deep"),
        (".".join("a" * 3000) + " = 1", "line 1: is nested more than 64 deep"),
        (f"a = {'9' * 5000}", "line 1: holds a number that is too long"),
        ("# " + "x" * (1 << 20), "at most 1048576 bytes are read"),
        (GPU + GPU, "is no TOML"),
        (GPU.replace('name = "datacentre-gpu"', 'name = "../../etc"'), "name = '../../etc'"),
        (GPU.replace("NVIDIA T4, 16 GB", "\\u001b[31m"), "device = .*control characters"),
        (GPU.replace("bandwidth_gb_per_s = 320", "bandwidth_gb_per_s = 3.2e11"), "1000000"),
        (GPU.replace('"int4xint4" = 32', '"int4xint8" = 32'), "names int4xint8, not native"),
        (GPU.replace('"int4xint4" = 32', '"4x4" = 32.5'), "channel_multiple.4x4 = 32.5"),
        (
            GPU.replace('"int4xint4" = 0.54', '"4..4x4" = 1, "int4xint4" = 0.5'),
            "int4xint4 more",
        ),
        (GPU.replace("on_chip_bytes = 4_194_304", ""), "on_chip_gb_per_s needs on_chip_bytes"),
        (GPU.replace("overhead_us = 3.4", 'overhead_us = "3.4"', 1), "cast.overhead_us = '3.4'"),
        (GPU.replace('"int8xint8"', '"8x8", ' * 80 + '"8x8"', 1), "supports.0.formats: .*64"),
        (GPU.replace("[cast]", "[casts]"), "casts: no such key"),
        (GPU.replace("[cast]", "same_format = ['Adds']"), "[Nn]o such|no such key"),
    ],
)
def test_what_is_wrong_in_a_target_file_is_named(
    tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises((TargetError, UnreadableFile), match=expected):
        load_target(path)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    for path in (tmp_path / "a.toml", tmp_path):
        with pytest.raises(UnreadableFile, match="cannot be read"):
            read_target_file(path)
    with pytest.raises(TargetError, match="no regular file"):
        LatencyTable.read(Path("/dev/zero"))


@pytest.mark.parametrize(
    "name",
    [
        "../t.csv",
        "/etc/t.csv",
        "a/../../t.csv",
        "C:\\\\t.csv",
        "..\\\\t.csv",
        "//h/t.csv",
    ],
)
def test_a_table_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CPU.replace('"this-cpu.csv"', f'"{name}"'))
    with pytest.raises(TargetError, match=r"table = .*beside its target file.*without '\.\.'"):
        load_target(path)


def test_a_table_must_be_of_a_known_kind_and_within_the_folder_behind_links(tmp_path: Path) -> None:
    path = tmp_path / "here" / "mine.toml"
    path.parent.mkdir()
    path.write_text(CPU.replace('"this-cpu.csv"', '"t.pickle"'))
    with pytest.raises(TargetError, match=r"ends in \.csv or \.parquet"):
        load_target(path)
    LatencyTable({}).write(tmp_path / "t.csv")
    (path.parent / "t.csv").symlink_to(tmp_path / "t.csv")
    path.write_text(CPU.replace('"this-cpu.csv"', '"t.csv"'))
    with pytest.raises(TargetError, match="leads out of its folder"):
        load_target(path)
    assert isinstance(load_target(path, table=tmp_path / "t.csv"), HardwareTarget)


def _csv() -> str:
    return heading(NOTES, energy=True) + "".join(line(key, row) for key, row in ROWS.items())


CSV = _csv()


@settings(deadline=None)
@given(st.data())
def test_a_damaged_table_is_read_whole_or_refused(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(CSV)))
    end = data.draw(st.integers(start, len(CSV)))
    patch = data.draw(
        st.sampled_from(["", "\n", ",", '"', "\x00", "=", "-", "\ud7ff", "é", "9" * 99])
    )
    content = CSV[:start] + patch + CSV[end:]
    found = read_or_refused(LatencyTable.read, content, ".csv")
    if isinstance(found, LatencyTable):
        lines = [text for text in content.split("\n") if text and not text.startswith("#")]
        assert len(found.rows) == len(lines) - 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("latency_ms", "latency_us", "columns missing: latency_ms"),
        ("0.5", "-0.5", "latency_ms = '-0.5' must be a number of milliseconds from 0"),
        ("0.5", "nan", "latency_ms = 'nan'"),
        ("0.5", "5e7", r"latency_ms = '5e7' .* to 1e\+07"),
        ("0.5", "9" * 400, r"\.\.\. \(400 characters\)"),
        ("20", "2" * 20, "count = '22222222222222222222' must be a whole number"),
        ("Conv2d", "Conv3d", "operator = 'Conv3d': no such operator; known are .*Conv2d"),
        ("Conv2d", "=cmd|' /C calc'!A0", "operator = .* must be an operator's name"),
        ("1x4x4", "@SUM(1)", "inputs = '@SUM.1.' must be shapes"),
        (RELU, "+1", "fused = '.1' must be operators joined by"),
        ("out=16", "=16", "fields = '=16,kernel=3' must be fields such as"),
        ("0.25", "", r"1 of 4 rows of the latency table have no energy_mj(?s:.*)1x4x4"),
        ("2x4x4", "1x4x4", "repeats the kernel of line 4"),
        ("a phone", "a \x1b phone", "line 1: a note holds control characters"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    path = tmp_path / "t.csv"
    assert old in CSV
    path.write_text(CSV.replace(old, new, 1))
    with pytest.raises(TargetError, match=expected):
        LatencyTable.read(path)


def test_a_table_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    monkeypatch.setattr(latency_table, "MAXIMUM_BYTES", len(CSV) - 1)
    with pytest.raises(TargetError, match=r"at most .* are read"):
        LatencyTable.read(tmp_path / "t.csv")


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"=+-@,; '\t\n", "1+1", "cmd|'/C calc'!A0"])).map("".join))
def test_no_note_holds_a_cell_that_a_spreadsheet_would_run(note: str) -> None:
    written = heading({"note": note, "device": note})
    for delimiter in (",", ";", "\t"):
        for cells in csv.reader(written.splitlines(), delimiter=delimiter):
            assert not any(cell.strip().startswith(("=", "+", "-", "@")) for cell in cells)


@pytest.mark.parametrize(
    ("notes", "key"),
    [
        ({"=1": "x"}, KEYS[0]),
        ({"a\nb": "x"}, KEYS[0]),
        ({"a": "\x07"}, KEYS[0]),
        ({}, KernelKey("=1+1", "", "8", "", "int8", "int8")),
        ({}, KernelKey("Conv2d", "=1", "8", "", "int8", "int8")),
        ({}, KernelKey("Conv2d", "out=1,kernel=1", "8", "-relu", "int8", "int8")),
    ],
)
def test_what_would_not_be_read_is_not_written(
    tmp_path: Path, notes: dict[str, str], key: KernelKey
) -> None:
    for suffix in (".csv", ".parquet"):
        with pytest.raises(TargetError, match="must be"):
            LatencyTable({key: Row(1.0, 0.0, 1)}, notes).write(tmp_path / f"t{suffix}")
        assert not [*tmp_path.iterdir()]


def test_parquet_holds_what_csv_holds(tmp_path: Path) -> None:
    for rows in (ROWS, {key: Row(1 / 3, 0.0, 1) for key in KEYS}, {}):
        for suffix in (".csv", ".parquet"):
            LatencyTable(rows, NOTES).write(tmp_path / f"t{suffix}")
            found = LatencyTable.read(tmp_path / f"t{suffix}")
            assert (found.rows, found.notes) == (rows, NOTES)


def test_parquet_of_more_columns_than_a_table_has_is_not_read(tmp_path: Path) -> None:
    columns = {f"column{number}": [1] for number in range(101)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(TargetError, match="has 101 columns"):
        LatencyTable.read(tmp_path / "t.parquet")


def _parquet() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        LatencyTable(ROWS, NOTES).write(path)
        return path.read_bytes()


PARQUET = _parquet()


def test_a_changed_byte_in_the_cells_of_a_parquet_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    LatencyTable({key: Row(float(np.sqrt(2 + at)), 0.0, 1) for at, key in enumerate(KEYS)}).write(
        path
    )
    whole, value = path.read_bytes(), np.sqrt(3.0).tobytes()
    path.write_bytes(whole.replace(value, np.float64(1 / 7).tobytes(), 1))
    assert value in whole
    with pytest.raises(TargetError, match=r"t\.parquet cannot be read: .*CRC"):
        LatencyTable.read(path)


@settings(deadline=None)
@given(st.integers(0, len(PARQUET)), st.binary(max_size=8), st.integers(0, 64))
def test_a_damaged_parquet_file_is_read_or_refused(at: int, patch: bytes, dropped: int) -> None:
    content = PARQUET[:at] + patch + PARQUET[at + dropped :]
    found = read_or_refused(LatencyTable.read, content, ".parquet")
    assert found is None or isinstance(found, LatencyTable)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"latency_ms": [float("nan")]}, "line 1: latency_ms = 'nan'"),
        ({"latency_ms": [None]}, "1 of 1 rows have no latency_ms yet, in lines 1"),
        ({"batch": [1.5]}, "batch = '1.5' must be a whole number"),
        ({"fields": [3]}, "fields = '3' must be fields such as"),
        ({"count": [True]}, "count = 'True'"),
        ({"operator": [b"Conv2d"]}, "operator = "),
        ({"inputs": [{"a": [1, 2]}]}, "inputs = "),
        ({"extra": [1]}, "columns not known: 'extra'"),
    ],
)
def test_what_is_wrong_in_a_parquet_file_is_named(
    tmp_path: Path, changed: dict[str, list[object]], expected: str
) -> None:
    (cells,) = csv.reader(CSV.splitlines()[-1:])
    columns: dict[str, list[object]] = {n: [c] for n, c in zip(COLUMNS, cells, strict=True)}
    pq.write_table(pa.table({**columns, **changed}), tmp_path / "t.parquet")
    with pytest.raises(TargetError, match=expected):
        LatencyTable.read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("held", "instead"),
    [(b"elastic_nas.device", b"elastic_nas.dev1ce"), (b"elastic_nas.", b"elastic_nbs.")],
)
def test_a_note_that_changed_in_a_parquet_file_is_told(
    tmp_path: Path, held: bytes, instead: bytes
) -> None:
    path = tmp_path / "t.parquet"
    LatencyTable(ROWS, {"device": "a board"}).write(path)
    whole = path.read_bytes()
    assert held in whole
    path.write_bytes(whole.replace(held, instead))
    with pytest.raises(TargetError, match="have changed since it was written"):
        LatencyTable.read(path)


def test_a_figure_changed_by_another_program_is_told_where_the_digest_was_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.parquet"
    LatencyTable(ROWS, NOTES).write(path)
    table = pq.read_table(path)
    place = table.column_names.index("latency_ms")
    changed = table.set_column(place, "latency_ms", pa.array([7.5] * len(ROWS)))
    pq.write_table(changed, path)
    with pytest.raises(TargetError, match="have changed since it was written"):
        LatencyTable.read(path)
    pq.write_table(changed.replace_schema_metadata(None), path)
    assert {row.latency_ms for row in LatencyTable.read(path).rows.values()} == {7.5}


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TargetError, match=r"pip install 'elastic-nas\[parquet\]'"):
        LatencyTable.read(tmp_path / "t.parquet")
