"""Measuring on this machine: resumable, in honest units, with conditions recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from nas.export.runtime import kernels_run
from nas.ort import onnxruntime as ort
from nas.profiling import OnnxRuntime, profile
from nas.profiling.kernel_models import has_channels_last, kernel_model
from nas.targets import TargetError
from nas.targets.numerics import Numerics, of_bits
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from search_spaces.kernels import Kernel
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
    Shape,
)

RELU = Activation("relu")
SMALL = Kernel(Conv2d(16, 3), (BatchNorm2d(), RELU), ((16, 8, 8),))
LARGE = Kernel(Conv2d(32, 3), (BatchNorm2d(), RELU), ((32, 32, 32),))
INT8, FLOAT = of_bits(8, 8), of_bits(32, 32)
FAST = 4.0
ORT = OnnxRuntime()


def test_measures_both_precisions_and_resumes_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    first = profile([(SMALL, INT8), (LARGE, INT8)], path=path, backend=ORT, budget_ms=FAST)
    assert 0 < _ms(first, SMALL, INT8) < _ms(first, LARGE, INT8) < 100
    kept = path.read_bytes()
    path.write_bytes(kept + b"Conv2d,32x32x32,32,3,1,relu,32,32,1,0.0")
    calls: list[tuple[int, int]] = []
    wanted = [(SMALL, INT8), (LARGE, INT8), (LARGE, FLOAT)]
    second = profile(
        wanted, path=path, backend=ORT, progress=lambda *c: calls.append(c), budget_ms=FAST
    )
    assert path.read_bytes().startswith(kept)
    assert calls == [(2, 3), (3, 3)]
    assert first.rows.items() <= second.rows.items()
    assert LatencyTable.read(path).rows == second.rows
    assert second.notes["threads"] == "1"
    assert "onnxruntime" in second.notes["runtime"]
    assert second.notes["device"]


def test_a_file_torn_within_its_heading_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("# device: x\noperator,inp")
    assert len(profile([(SMALL, INT8)], path=path, backend=ORT, budget_ms=FAST).rows) == 1
    assert len(LatencyTable.read(path).rows) == 1


def test_measurements_under_other_conditions_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    profile([], path=path, backend=ORT)
    with pytest.raises(TargetError, match="threads = '1', now it is '2'; delete"):
        profile([(SMALL, INT8)], path=path, backend=OnnxRuntime(threads=2))


def test_a_broken_table_is_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    table = profile([], path=path, backend=ORT)
    LatencyTable({KernelKey.of(SMALL, INT8): Row(-1.0, 0.0, 1)}, table.notes).write(path)
    with pytest.raises(TargetError, match=r"latency_ms = '-1\.0'"):
        profile([(SMALL, FLOAT)], path=path, backend=ORT)


def test_a_table_with_the_columns_of_before_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    profile([], path=path, backend=ORT)
    notes = [text for text in path.read_text().splitlines() if text.startswith("#")]
    header = "operator,inputs,out,kernel,stride,fused,weight_bits,activation_bits,batch"
    old = "Conv2d,16x8x8,16,3,1,relu,8,8,1,0.125,0.001,9"
    path.write_text("\n".join([*notes, f"{header},latency_ms,spread_ms,count", old, ""]))
    table = profile([(SMALL, INT8), (SMALL, FLOAT)], path=path, backend=ORT, budget_ms=FAST)
    assert table.rows[KernelKey.of(SMALL, INT8)] == Row(0.125, 0.001, 9)
    assert len(table.rows) == 2
    assert LatencyTable.read(path).rows == table.rows
    assert "stride" not in path.read_text()


def test_columns_in_another_order_are_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    profile([(SMALL, INT8)], path=path, backend=ORT, budget_ms=FAST)
    *notes, header, row = path.read_text().splitlines()
    turned = [
        ",".join([*cells.split(",")[-1:], cells.rpartition(",")[0]]) for cells in (header, row)
    ]
    path.write_text("\n".join([*notes, *turned, ""]))
    table = profile([(SMALL, INT8), (SMALL, FLOAT)], path=path, backend=ORT, budget_ms=FAST)
    assert LatencyTable.read(path).rows == table.rows
    assert len(table.rows) == 2


def test_bits_without_a_kernel_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="given Conv2d at int4xint8"):
        profile([(SMALL, of_bits(4, 8))], path=tmp_path / "t.csv", backend=ORT)


@dataclass(frozen=True)
class Unheard(Op):
    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]


@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        (Kernel(Unheard(), (), ((3, 8, 8),)), "Unheard has no ONNX form"),
        (Kernel(Input("image", (3, 8, 8)), (), ()), "Input is what a network reads"),
        (Kernel(BatchNorm2d(), (RELU,), ((16, 8, 8),)), "a norm runs in no network that leaves"),
        (Kernel(RELU, (BatchNorm2d(),), ((16, 8, 8),)), "put it right behind a convolution"),
    ],
)
def test_what_leaves_in_no_network_is_refused(kernel: Kernel, told: str) -> None:
    assert told in str(ORT.refusal(kernel, of_bits(None, 32)))


@pytest.mark.parametrize(
    ("kernel", "fused_to"),
    [
        (SMALL, "QLinearConv"),
        (Kernel(DepthwiseConv2d(5, 2), (BatchNorm2d(), RELU), ((16, 8, 8),)), "QLinearConv"),
        (Kernel(Linear(10), (), ((16,),)), "QGemm"),
        (Kernel(Add(), (RELU,), ((16, 8, 8),) * 2), "QLinearAdd"),
        (Kernel(Multiply(), (), ((16, 8, 8), (16, 1, 1))), "QLinearMul"),
        (Kernel(GlobalPool(), (), ((16, 8, 8),)), "QLinearGlobalAveragePool"),
        (Kernel(Conv2d(16, 1), (Activation("hardswish"),), ((16, 8, 8),)), "Conv"),
        (
            Kernel(Conv2d(16, 1, bias=True), (Activation("hardsigmoid"),), ((16, 1, 1),)),
            "Conv",
        ),
        (Kernel(Activation("relu6"), (), ((16, 8, 8),)), None),
    ],
)
@pytest.mark.parametrize("quantized", [False, True])
def test_every_kernel_runs_and_int8_is_fused(
    kernel: Kernel, fused_to: str | None, quantized: bool, tmp_path: Path
) -> None:
    bits = of_bits(8 if kernel.op.weight_shape(*kernel.inputs) else None, 8) if quantized else FLOAT
    model = kernel_model(kernel, bits, copies=2)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    dtype = np.uint8 if quantized else np.float32
    given = {one.name: np.ones((1, *one.shape[1:]), dtype) for one in session.get_inputs()}
    outputs = session.run(None, given)
    arrays = [output for output in outputs if isinstance(output, np.ndarray)]
    last = quantized and has_channels_last(kernel)
    assert [array.shape[-1 if last else 1] for array in arrays] == [kernel.output[0]] * 2
    if quantized and fused_to is not None:
        kinds = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
        assert fused_to in kinds
        assert not (last and "Transpose" in kinds)  # images lie as between convolutions


def _ms(table: LatencyTable, kernel: Kernel, bits: Numerics) -> float:
    return table.rows[KernelKey.of(kernel, bits)].latency_ms


def test_a_float_kernel_on_a_grid_rounds_what_it_reads_and_stays_in_floats(tmp_path: Path) -> None:
    (tmp_path / "rounded.onnx").write_bytes(kernel_model(SMALL, of_bits(32, 8)))
    kinds = kernels_run(tmp_path / "rounded.onnx").keys()
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
    assert "QLinearConv" not in kinds
