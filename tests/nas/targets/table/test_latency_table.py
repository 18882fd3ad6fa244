"""Latency tables: what is written is read, and nothing wrong passes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.targets.capability import Bits
from nas.targets.errors import TargetError
from nas.targets.operator_names import row_names
from nas.targets.table.csv_file import COLUMNS, REQUIRED_COLUMNS, heading, line, parse
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, Kernel, kernels
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Image,
    Multiply,
)

milliseconds = st.floats(0, 1e6, allow_nan=False)
names = st.sampled_from(["relu", "Conv2d:24:k1:s1", "DepthwiseConv2d:k3:s2", "Add@in1", "Add"])
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
    KernelKey,
    operator=st.sampled_from(sorted(row_names())),
    inputs=st.lists(shapes, min_size=1, max_size=2).map("+".join),
    out=st.integers(1, 4096),
    kernel=st.integers(1, 11),
    stride=st.integers(1, 4),
    fused=st.lists(names, max_size=3).map("+".join),
    weight_bits=st.integers(0, 32),
    activation_bits=st.integers(1, 32),
    batch=st.integers(1, 64),
)
rows = st.builds(Row, milliseconds, milliseconds, st.integers(1, 10**6))
KEY = KernelKey("Conv2d", "8x4x4", 16, 3, 1, "relu", 8, 8)
GOOD = line(KEY, Row(0.5, 0.01, 20))
CELLS = GOOD.rstrip("\n").split(",")


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
@given(st.lists(st.just(GOOD.rstrip("\n")) | st.text(max_size=40), max_size=5))
def test_any_lines_below_the_header_are_rows_or_problems(lines: list[str]) -> None:
    text = heading({}) + "".join(f"{words}\n" for words in lines)
    found, _, problems = parse(text)
    assert len(found) + len(problems) == text.count("\n") - 1


@settings(deadline=None)
@given(st.integers(0, len(CELLS) - 1), st.sampled_from(["nan", "-1", "inf", "x", "1_0", "1e400"]))
def test_a_wrong_cell_is_named(position: int, text: str) -> None:
    if COLUMNS[position] in {"operator", "inputs", "fused"}:
        return
    cells = [*CELLS[:position], text, *CELLS[position + 1 :]]
    _, _, [problem] = parse(heading({}) + ",".join(cells) + "\n")
    assert problem.startswith(f"line 2: {COLUMNS[position]} = ")
    assert repr(text) in problem


def test_every_problem_is_listed_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(heading({"device": "d"}) + GOOD + GOOD + "1,2\n" + GOOD.replace("0.5", "") * 12)
    with pytest.raises(TargetError) as caught:
        LatencyTable.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "14 problems, the first 10" in message
    assert "line 4: repeats the kernel of line 3" in message
    assert "line 5: 2 values for 12 columns" in message
    assert message.count("\n  line") == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no header"),
        ("# device: x\n", "no header"),
        (",".join(COLUMNS[:-2]), "columns missing: count"),
        (",".join([*COLUMNS, "flops"]), "columns not known: 'flops'"),
        (",".join([*COLUMNS, "count"]), "columns repeated"),
        (",".join(COLUMNS).replace("latency_ms", "latency_us"), "columns missing: latency_ms"),
    ],
)
def test_a_wrong_header_is_named(text: str, expected: str) -> None:
    assert expected in parse(text)[2][0]


def test_columns_may_stand_in_any_order() -> None:
    header, cells = ",".join(reversed(REQUIRED_COLUMNS)), ",".join(reversed(CELLS))
    assert parse(f"{header}\n{cells}\n")[0] == {KEY: Row(0.5, 0.01, 20)}


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TargetError, match="cannot be read"):
        LatencyTable.read(path)
    with pytest.raises(TargetError, match="cannot be read"):
        LatencyTable.read(tmp_path / "absent.csv")


def test_write_then_read(tmp_path: Path) -> None:
    table = LatencyTable({KEY: Row(math.pi, 0.0, 3)}, {"device": "d"})
    table.write(tmp_path / "t.csv")
    again = LatencyTable.read(tmp_path / "t.csv")
    assert again.rows == table.rows
    assert again.notes == table.notes


def test_a_folded_norm_is_not_part_of_the_key() -> None:
    relu = Activation("relu")
    with_norm = Kernel(Conv2d(16, 3), (BatchNorm2d(), relu), ((8, 4, 4),))
    without = Kernel(Conv2d(16, 3, bias=True), (relu,), ((8, 4, 4),))
    bits = Bits(8, 8)
    assert KernelKey.of(with_norm, bits) == KernelKey.of(without, bits) == KEY
    assert KernelKey.of(Kernel(relu, (), ((4, 2, 2),)), Bits(None, 32)).operator == "relu"
    addition = KernelKey.of(Kernel(Add(), (relu,), ((4, 2, 2),) * 2), Bits(None, 8))
    assert (addition.inputs, addition.weight_bits) == ("4x2x2+4x2x2", 0)


def test_a_key_names_every_operator_of_a_kernel() -> None:
    graph = Graph(Image(8, 4))
    graph.add("b.expand", Conv2d(24, 1))
    graph.add("b.expand.norm", BatchNorm2d())
    graph.add("b.expand.relu", Activation("relu"))
    graph.add("b.depthwise", DepthwiseConv2d(5))
    graph.add("b.depthwise.norm", BatchNorm2d())
    graph.add("b.pool", GlobalPool())
    graph.add("b.gate", Conv2d(24, 1, bias=True))
    graph.add("b.multiply", Multiply(), "b.depthwise.norm", "b.gate")
    graph.add("b.project", Conv2d(8, 1))
    graph.add("b.add", Add(), "b.project", "input")
    (_, block) = [*kernels(graph, Fusion(regions=("b",)))][-1]
    key = KernelKey.of(block, Bits(8, 8))
    assert (key.operator, key.inputs, key.out) == ("Conv2d", "8x4x4", 24)
    assert key.fused == (
        "relu+DepthwiseConv2d:k5:s1+GlobalPool+Conv2d:24:k1:s1+Multiply@op2+Conv2d:8:k1:s1+Add@in0"
    )


def test_other_wirings_have_other_keys() -> None:
    def key(wiring: tuple[tuple[int, ...], ...]) -> KernelKey:
        ops = (Conv2d(8, 3), (Conv2d(8, 3), Add()))
        return KernelKey.of(Kernel(*ops, ((8, 4, 4),), wiring), Bits(8, 8))

    wirings = [((0,), (1,), (2, 0)), ((0,), (1,), (2, 1)), ((0,), (0,), (2, 1))]
    assert [key(wiring).fused for wiring in wirings] == [
        "Conv2d:8:k3:s1+Add@in0",
        "Conv2d:8:k3:s1+Add@op0",
        "Conv2d:8:k3:s1@in0+Add@op0",
    ]


def test_an_operator_with_fields_of_its_own_is_not_taken_for_another() -> None:
    with pytest.raises(TargetError, match="has no column for them"):
        KernelKey.of(Kernel(Image(3, 8), (), ()), Bits(None, 8))
