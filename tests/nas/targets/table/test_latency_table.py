"""Latency tables: what is written is read, and nothing wrong passes."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.targets.errors import TargetError
from nas.targets.table.columns import COLUMNS, FORMS, REQUIRED_COLUMNS
from nas.targets.table.csv_file import heading, line, parse
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row

milliseconds = st.floats(0, 1e6, allow_nan=False)
anchors = st.sampled_from(
    [
        ("Conv2d", "out=24,kernel=3"),
        ("Conv2d", "out=8,kernel=1,stride=2"),
        ("DepthwiseConv2d", "kernel=5"),
        ("Activation", "function=relu"),
        ("Add", ""),
    ]
)
names = st.sampled_from(
    ["Activation(function=relu)", "Conv2d(out=24,kernel=1)@op0", "Add@in1", "Add", "GlobalPool"]
)
shapes = st.lists(st.integers(1, 512), min_size=1, max_size=3).map(lambda s: "x".join(map(str, s)))
notes = st.dictionaries(
    st.from_regex(r"[A-Za-z][A-Za-z0-9 ._-]{0,8}[a-z]", fullmatch=True),
    st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" ")).map(
        lambda text: " ".join(text.split())
    )
    | st.lists(st.sampled_from([*"=+-@',; ", "cmd|' /C calc'!A0"])).map(
        lambda parts: " ".join("".join(parts).split())
    ),
)
keys = st.builds(
    lambda anchor, **others: KernelKey(*anchor, **others),
    anchors,
    inputs=st.lists(shapes, min_size=1, max_size=2).map("+".join),
    fused=st.lists(names, max_size=3).map("+".join),
    weight=st.sampled_from(["", "float", "int8", "uint4", "e4m3", "int4-per-group-32-float16"]),
    activation=st.sampled_from(["float", "int8", "uint8", "e5m2", "int16"]),
    batch=st.integers(1, 64),
)
rows = st.builds(Row, milliseconds, milliseconds, st.integers(1, 10**6))
KEY = KernelKey("Conv2d", "out=16,kernel=3", "8x4x4", "Activation(function=relu)", "int8", "int8")
GOOD = line(KEY, Row(0.5, 0.01, 20))
(CELLS,) = csv.reader([GOOD])


def joined(cells: Sequence[str]) -> str:
    """The line that holds these cells."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


@settings(deadline=None)
@given(st.dictionaries(keys, rows, max_size=6), notes)
def test_round_trip(content: dict[KernelKey, Row], said: dict[str, str]) -> None:
    text = heading(said) + "".join(line(key, row) for key, row in content.items())
    assert parse(text) == (content, said, [])


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    found, _, problems = parse(text)
    assert problems
    assert found == {}


@settings(deadline=None)
@given(
    st.lists(
        st.just(GOOD.rstrip("\n"))
        | st.text(st.characters(exclude_characters="\n"), max_size=40).map("x".__add__),
        max_size=5,
    )
)
def test_any_lines_below_the_header_are_rows_or_problems(lines: list[str]) -> None:
    text = heading({}) + "".join(f"{words}\n" for words in lines)
    found, _, problems = parse(text)
    assert len(found) + len(problems) == text.count("\n") - 1


@settings(deadline=None)
@given(st.integers(0, len(CELLS) - 1), st.sampled_from(["nan", "-1", "inf", "x", "1_0", "1e400"]))
def test_a_wrong_cell_is_named(position: int, text: str) -> None:
    if COLUMNS[position] in FORMS:
        return
    cells = [*CELLS[:position], text, *CELLS[position + 1 :]]
    _, _, [problem] = parse(heading({}) + joined(cells))
    assert problem.startswith(f"line 2: {COLUMNS[position]} = ")
    assert repr(text) in problem


def test_every_problem_is_listed_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(
        heading({"device": "d"}) + GOOD + GOOD + "1,2\n" + GOOD.replace("0.5", "-1") * 12
    )
    with pytest.raises(TargetError) as caught:
        LatencyTable.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "14 problems, the first 10" in message
    assert "line 4: repeats the kernel of line 3" in message
    assert "line 5: 2 values for 10 columns" in message
    assert message.count("\n  line") == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no header"),
        ("# device: x\n", "no header"),
        (",".join(COLUMNS[:-2]), "columns missing: count"),
        (",".join([*COLUMNS, "flops"]), "columns not known: 'flops'; known are operator, fields"),
        (",".join(COLUMNS[:1] + COLUMNS[2:]), "columns missing: fields"),
        (",".join([*COLUMNS, "kernel"]), "columns kernel beside fields, which stands in their"),
        (",".join([*COLUMNS, "count"]), "columns repeated"),
        (",".join(COLUMNS).replace("latency_ms", "latency_us"), "columns missing: latency_ms"),
    ],
)
def test_a_wrong_header_is_named(text: str, expected: str) -> None:
    assert expected in parse(text)[2][0]


def test_columns_may_stand_in_any_order() -> None:
    text = joined(REQUIRED_COLUMNS[::-1]) + joined(CELLS[::-1])
    assert parse(text)[0] == {KEY: Row(0.5, 0.01, 20)}


def test_kernels_that_are_equal_once_they_are_read_are_told() -> None:
    again = GOOD.replace("out=16,kernel=3", "kernel=3,out=16,stride=1")
    assert again != GOOD
    _, _, [problem] = parse(heading({}) + GOOD + again)
    assert problem.startswith("line 3: repeats the kernel of line 2: Conv2d(out=16,kernel=3) + ")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("out=16,kernel=3", "out=16", "line 2: fields = 'out=16': Conv2d has no value for kernel"),
        ("kernel=3", "kernal=3", "fields = 'out=16,kernal=3': Conv2d has no field kernal"),
        ("kernel=3", "kernel=-3", "kernel must be greater than or equal to 1, given -3"),
        ("Conv2d", "relu", "operator = 'relu': no such operator; known are .*Activation"),
        ("function=relu", "function=sine", "fused = .*: Activation cannot be made: function"),
        (
            "Activation(function=relu)",
            "relu",
            "fused = 'relu': operator = 'relu': no such operator",
        ),
        ("Activation(function=relu)", "Own", "one of your own must be imported first"),
    ],
)
def test_what_is_no_operator_is_named_with_its_line(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found, _, [problem] = parse(heading({}) + GOOD.replace(old, new, 1))
    assert not found
    assert re.search(expected, problem)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(TargetError, match="cannot be read"):
        LatencyTable.read(path)
    with pytest.raises(TargetError, match=r"there is no file .*absent\.csv; write it"):
        LatencyTable.read(tmp_path / "elsewhere" / "absent.csv")
    with pytest.raises(TargetError, match=r"beside it lies 'table\.csv' .upper and lower case"):
        LatencyTable.read(tmp_path / "Table.CSV")


def test_write_then_read(tmp_path: Path) -> None:
    table = LatencyTable({KEY: Row(math.pi, 0.0, 3)}, {"device": "d"})
    table.write(tmp_path / "t.csv")
    again = LatencyTable.read(tmp_path / "t.csv")
    assert again.rows == table.rows
    assert again.notes == table.notes
