"""Tables with the columns out, kernel and stride mean what they meant when they were written."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nas.targets import TargetError
from nas.targets.numerics import of_bits
from nas.targets.table.csv_file import parse
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.old_columns import OLD_KEY_COLUMNS
from nas.targets.table.rows import KernelKey
from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, Kernel, kernels
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    GlobalPool,
    Input,
    Linear,
    Multiply,
    Op,
)

HEADER = (
    "operator,inputs,out,kernel,stride,fused,weight_bits,activation_bits,batch,"
    "latency_ms,spread_ms,count"
)
RELU, IMAGE, INT8 = Activation("relu"), (8, 4, 4), of_bits(8, 8)


def block() -> Kernel:
    """An inverted residual with a gate, as one kernel."""
    graph = Graph(Input("image", (8, 4, 4)))
    graph.add("b.expand", Conv2d(24, 1))
    graph.add("b.expand.norm", BatchNorm2d())
    graph.add("b.expand.relu", RELU)
    graph.add("b.depthwise", DepthwiseConv2d(5))
    graph.add("b.pool", GlobalPool())
    graph.add("b.gate", Conv2d(24, 1, bias=True))
    graph.add("b.multiply", Multiply(), "b.depthwise", "b.gate")
    graph.add("b.project", Conv2d(8, 1))
    graph.add("b.add", Add(), "b.project", "input")
    *_, (_, found) = kernels(graph, Fusion(regions=("b",)))
    return found


# The texts are those that the engine wrote before rows had fields.
ROWS = {
    "Conv2d,8x4x4,16,3,2,relu,8,8,1": (Kernel(Conv2d(16, 3, 2), (RELU,), (IMAGE,)), INT8),
    "Conv2d,8x4x4,16,1,1,,4,8,1": (Kernel(Conv2d(16, 1, bias=True), (), (IMAGE,)), of_bits(4, 8)),
    "DepthwiseConv2d,8x4x4,8,5,1,hardswish,32,32,1": (
        Kernel(DepthwiseConv2d(5), (BatchNorm2d(), Activation("hardswish")), (IMAGE,)),
        of_bits(32, 32),
    ),
    "Linear,64x1x1,10,1,1,relu6,8,8,1": (
        Kernel(Linear(10), (Activation("relu6"),), ((64,),)),
        INT8,
    ),
    "relu,8x4x4,8,1,1,,0,32,1": (Kernel(RELU, (), (IMAGE,)), of_bits(None, 32)),
    "Add,8x4x4+8x4x4,8,1,1,relu,0,8,1": (Kernel(Add(), (RELU,), (IMAGE,) * 2), of_bits(None, 8)),
    "GlobalPool,8x4x4,8,1,1,Linear:1000,8,8,1": (
        Kernel(GlobalPool(), (Linear(1000),), (IMAGE,)),
        INT8,
    ),
    "Conv2d,8x4x4+8x4x4,8,1,1,Add@in1,8,8,1": (
        Kernel(Conv2d(8, 1), (BatchNorm2d(), Add()), (IMAGE,) * 2, ((0,), (2,), (3, 1))),
        INT8,
    ),
    "Conv2d,8x4x4,24,1,1,relu+DepthwiseConv2d:k5:s1+GlobalPool+Conv2d:24:k1:s1+Multiply@op2+"
    "Conv2d:8:k1:s1+Add@in0,8,8,1": (block(), INT8),
}
TEXT = "\n".join([HEADER, *(f"{key},0.5,0.01,9" for key in ROWS), ""])


def test_every_old_row_is_that_of_its_kernel() -> None:
    found, _, problems = parse(TEXT)
    assert problems == []
    assert [*found] == [KernelKey.of(kernel, bits) for kernel, bits in ROWS.values()]


def test_an_old_table_is_written_with_the_columns_of_today(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("# device: a phone\n" + TEXT)
    table = LatencyTable.read(tmp_path / "t.csv")
    for suffix in (".csv", ".parquet"):
        table.write(tmp_path / f"new{suffix}")
        again = LatencyTable.read(tmp_path / f"new{suffix}")
        assert (again.rows, again.notes) == (table.rows, {"device": "a phone"})
    written = (tmp_path / "new.csv").read_text()
    assert "operator,fields,inputs,fused,weight,activation" in written
    assert (
        'Conv2d,"out=16,kernel=3,stride=2",8x4x4,Activation(function=relu),int8,int8,1' in written
    )


def parquet(path: Path, *, latency_ms: float = 0.5) -> None:
    """An old table as Parquet, with the digest that such files were written with."""
    cells = [[int(c) if c.isdecimal() else c for c in key.split(",")] for key in ROWS]
    figures = [[latency_ms, 0.01, 9.0, None] for _ in ROWS]
    content = json.dumps([cells, figures, [["device", "a phone"]]])
    columns = dict(zip(OLD_KEY_COLUMNS, map(list, zip(*cells, strict=True)), strict=True))
    columns |= {"latency_ms": [0.5] * 9, "spread_ms": [0.01] * 9, "count": [9] * 9}
    metadata = {
        b"elastic_nas.device": b"a phone",
        b"elastic_nas_digest": hashlib.sha256(content.encode()).hexdigest()[:16].encode(),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def test_an_old_parquet_table_is_read_and_its_digest_held_against_it(tmp_path: Path) -> None:
    parquet(tmp_path / "t.parquet")
    found = LatencyTable.read(tmp_path / "t.parquet")
    assert found.rows == parse(TEXT)[0]
    assert found.notes == {"device": "a phone"}
    parquet(tmp_path / "t.parquet", latency_ms=0.25)
    with pytest.raises(TargetError, match="have changed since it was written"):
        LatencyTable.read(tmp_path / "t.parquet")


@dataclass(frozen=True)
class OutsideWindow(Op):
    """An operator of a user whose window the old columns never held."""

    kernel: int
    stride: int = 1

    def infer(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
        return inputs[0]


@dataclass(frozen=True)
class OutsideScale(Op):
    """An operator of a user whose required field no old column has."""

    function: str

    def infer(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
        return inputs[0]


@dataclass(frozen=True)
class OutsideConv2d(Conv2d):
    """An operator of a user with a field that came later."""

    dilation: int = 1


def test_an_operator_from_outside_keeps_its_old_rows() -> None:
    (key,) = parse(f"{HEADER}\nOutsideConv2d,8x4x4,16,3,1,,8,8,1,0.5,0.01,9\n")[0]
    assert key == KernelKey.of(Kernel(OutsideConv2d(16, 3), (), (IMAGE,)), INT8)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Activation,8x4x4,8,1,1,,0,8,1", "Activation has no value for function"),
        ("sine,8x4x4,8,1,1,,0,8,1", "operator = 'sine': no such operator; known are .*Conv2d"),
        ("GlobalPool,8x4x4,8,3,1,,0,8,1", "kernel = '3': this column never held the kernel of"),
        ("Add,8x4x4+8x4x4,8,1,2,,0,8,1", "stride = '2': this column never held the stride of Add"),
        ("OutsideWindow,8x4x4,8,1,1,,0,8,1", "never held the kernel of OutsideWindow; measure"),
        ("OutsideScale,8x4x4,8,1,1,,0,8,1", "OutsideScale has no value for function"),
        ("DepthwiseConv2d,8x4x4,16,3,1,,8,8,1", "out = 16: DepthwiseConv2d gives 8 of these"),
        ("DepthwiseConv2d,8,8,3,1,,8,8,1", "DepthwiseConv2d cannot read these inputs"),
        (
            "Conv2d,8x4x4,16,3,1,Activation(function=relu),8,8,1",
            "of fused must be an operator such",
        ),
        ("Conv2d,8x4x4,16,3,1,relu:3,8,8,1", "operator = 'relu': no such operator"),
        ("Conv2d,8x4x4,16,3,1,Linear,8,8,1", "fused = 'Linear..': Linear has no value for out"),
        ("Conv2d,8x4x4,16,3,1,Pool,8,8,1", "operator = 'Pool': no such operator"),
    ],
)
def test_a_row_that_was_for_nothing_is_refused(row: str, reason: str) -> None:
    found, _, problems = parse(f"{HEADER}\n{row},0.5,0.01,9\n")
    assert not found
    assert re.search(f"line 2: .*{reason}", problems[0])


def test_kernels_that_have_become_one_are_told() -> None:
    rows = ("Linear,64x1x1,10,1,1,,8,8,1", "Linear,64,10,1,1,,8,8,1")
    text = "\n".join([HEADER, *(f"{row},0.5,0.01,9" for row in rows), ""])
    _, _, [problem] = parse(text)
    assert problem == (
        "line 3: repeats the kernel of line 2: Linear(out=10) on 64, int8xint8, batch 1"
    )


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (
            HEADER.replace("operator", "operator,fields"),
            "columns out, kernel, stride beside fields",
        ),
        (HEADER.replace("stride,", ""), "columns missing: stride"),
        (HEADER.replace("out,kernel,stride,", ""), "columns missing: fields"),
        (
            HEADER + ",dilation",
            "not known: 'dilation'; known are operator, inputs, out, kernel",
        ),
    ],
)
def test_columns_of_before_and_of_today_do_not_mix(header: str, reason: str) -> None:
    _, _, problems = parse(header + "\n")
    assert any(reason in problem for problem in problems)
