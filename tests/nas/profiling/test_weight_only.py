"""Few-bit weights on float activations: one fused kernel, the numbers of the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from nas.ort import onnxruntime as ort
from nas.profiling import OnnxRuntime, profile
from nas.profiling.weight_only import weight_only_model
from nas.targets.capability import Bits
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Linear
from tests.nas.profiling.kernels import FAST, HEAD, SMALL

LAYERS = [
    Kernel(Linear(32), (), ((64,),)),
    Kernel(Linear(48), (Activation("hardswish"),), ((33,),)),
    Kernel(Linear(48), (Activation("relu6"),), ((33,),)),
]


@pytest.mark.parametrize("kernel", LAYERS)
@pytest.mark.parametrize("weight_bits", [2, 4, 8])
def test_it_is_one_kernel_with_the_numbers_of_the_definition(
    kernel: Kernel, weight_bits: int, tmp_path: Path
) -> None:
    model = weight_only_model(kernel, Bits(weight_bits, 32), copies=2)
    loaded = onnx.load_from_string(model)
    onnx.checker.check_model(loaded, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("MatMulNBits") == 2
    assert "DequantizeLinear" not in kinds
    given = np.random.default_rng(0).normal(size=(1, *kernel.inputs[0])).astype("f")
    for ours, reference in zip(
        session.run(None, {"input": given}), expected(loaded, given), strict=True
    ):
        # The kernel rounds activations to 8 bits a block where that is faster.
        np.testing.assert_allclose(ours, reference, atol=0.03 * np.abs(reference).max())


def expected(model: onnx.ModelProto, given: np.ndarray) -> list[np.ndarray]:
    """The outputs by onnx's own evaluator, weights unpacked beforehand."""
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "DequantizeLinear"]:
        floats = held[node.input[0]].astype("f") * held[node.input[1]]
        model.graph.initializer.append(numpy_helper.from_array(floats, node.output[0]))
        model.graph.node.remove(node)
    for tensor in [t for t in model.graph.initializer if t.name.startswith("weight")]:
        model.graph.initializer.remove(tensor)
    return ReferenceEvaluator(model).run(None, {"input": given})


def test_it_is_timed_beside_full_precision(tmp_path: Path) -> None:
    wanted = [(LAYERS[0], Bits(weight, 32)) for weight in (2, 4, 8, 32)]
    table = profile(wanted, path=tmp_path / "t.csv", backend=OnnxRuntime(), budget_ms=FAST)
    assert [key.weight_bits for key in table.rows] == [2, 4, 8, 32]
    assert all(row.latency_ms > 0 for row in table.rows.values())


def test_other_kernels_have_no_such_form() -> None:
    assert OnnxRuntime().refusal(SMALL, Bits(4, 32)) is not None
    assert OnnxRuntime().refusal(HEAD, Bits(3, 32)) is not None
    assert OnnxRuntime().refusal(HEAD, Bits(4, 32)) is None


def test_what_two_bits_compute_wrongly_is_refused() -> None:
    model = onnx.load_from_string(weight_only_model(HEAD, Bits(2, 32), copies=1))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = np.random.default_rng(0).normal(size=(1, *HEAD.inputs[0])).astype("f")
    ours, reference = session.run(None, {"input": given})[0], expected(model, given)[0]
    if not np.allclose(ours, reference, atol=0.03 * np.abs(reference).max()):
        assert OnnxRuntime().refusal(HEAD, Bits(2, 32)) is not None
