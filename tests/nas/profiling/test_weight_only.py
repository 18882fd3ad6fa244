"""Few-bit weights on float activations: one fused kernel, the numbers of the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nas.export.runtime import kernels_run, session_options
from nas.ort import onnxruntime as ort
from nas.profiling import OnnxRuntime, profile
from nas.profiling.kernel_models import kernel_model
from nas.profiling.kernel_networks import kernel_network
from nas.targets.numerics import Numerics, of_bits
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Linear
from tests.nas.profiling.kernels import FAST, HEAD, SMALL

LAYERS = [
    Kernel(Linear(32), (), ((64,),)),
    Kernel(Linear(32), (Activation("relu"),), ((7, 64),)),
    Kernel(Linear(48), (Activation("hardswish"),), ((33,),)),
    Kernel(Linear(48), (Activation("relu6"),), ((33,),)),
]


@pytest.mark.parametrize("kernel", LAYERS)
@pytest.mark.parametrize("weight_bits", [2, 4, 8])
def test_it_is_one_kernel_with_the_numbers_of_the_definition(
    kernel: Kernel, weight_bits: int, tmp_path: Path
) -> None:
    bits, path = of_bits(weight_bits, 32), tmp_path / "kernel.onnx"
    path.write_bytes(kernel_model(kernel, bits, copies=2))
    onnx.checker.check_model(onnx.load(path), full_check=True)
    kinds = kernels_run(path)
    assert kinds["MatMulNBits"] == 2
    assert "DequantizeLinear" not in kinds
    given = np.random.default_rng(0).normal(size=(5, *kernel.inputs[0])).astype("f")
    for copy, ours in enumerate(run(path, given)):
        reference = expected(kernel, bits, given, copy=copy)
        np.testing.assert_allclose(ours, reference, atol=1e-5 * np.abs(reference).max())


def run(path: Path, given: np.ndarray) -> list[np.ndarray]:
    """The outputs without the rounding of activations that the kernel does where it is faster."""
    session = ort.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input0": given})


def expected(kernel: Kernel, bits: Numerics, given: np.ndarray, *, copy: int) -> np.ndarray:
    """What torch computes with the weights unpacked."""
    with torch.no_grad():
        return kernel_network(kernel, bits, copy=copy).module()(torch.from_numpy(given)).numpy()


def test_it_is_timed_beside_full_precision(tmp_path: Path) -> None:
    wanted = [(LAYERS[0], of_bits(weight, 32)) for weight in (2, 4, 8, 32)]
    table = profile(wanted, path=tmp_path / "t.csv", backend=OnnxRuntime(), budget_ms=FAST)
    assert [key.weight for key in table.rows] == ["int2", "int4", "int8", "float"]
    assert all(row.latency_ms > 0 for row in table.rows.values())


def test_other_kernels_have_no_such_form() -> None:
    assert OnnxRuntime().refusal(SMALL, of_bits(4, 32)) is not None
    assert OnnxRuntime().refusal(HEAD, of_bits(3, 32)) is not None
    assert OnnxRuntime().refusal(HEAD, of_bits(4, 32)) is None


def test_what_two_bits_would_compute_wrongly_runs_as_floats_and_is_not_timed(
    tmp_path: Path,
) -> None:
    bits, path = of_bits(2, 32), tmp_path / "kernel.onnx"
    path.write_bytes(kernel_model(HEAD, bits))
    assert kernels_run(path)["Gemm"] == 1
    given = np.random.default_rng(0).normal(size=(5, *HEAD.inputs[0])).astype("f")
    [ours], reference = run(path, given), expected(HEAD, bits, given, copy=0)
    np.testing.assert_allclose(ours, reference, atol=1e-5 * np.abs(reference).max())
    assert OnnxRuntime().refusal(HEAD, bits) is not None
