"""torch as a backend: the same programs as the operators say, timed natively or refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
import torch._dynamo
import torch._inductor.config
from torch import nn
from torch._dynamo.utils import counters
from torch.nn import functional as F

from nas.profiling import profile
from nas.profiling.backends import backend_named
from nas.profiling.torch_programs import (
    STEP,
    ZERO,
    float_module,
    int8_module,
    int8_tensor,
    missing_in_int8,
)
from nas.profiling.torch_runtime import Torch
from nas.targets import TargetError
from nas.targets.numerics import Numerics, of_bits
from nas.targets.table.latency_table import LatencyTable
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Add, BatchNorm2d, Conv2d, GlobalPool, Multiply, Shape
from supernets.elastic import Tensors, stock
from tests.nas.profiling.kernels import (
    DEPTHWISE,
    FAST,
    FLOAT,
    HEAD,
    INT8,
    LARGE,
    RELU,
    SMALL,
    SUM,
)

GATE = Kernel(Multiply(), (), ((16, 8, 8), (16, 1, 1)))
POOL = Kernel(GlobalPool(), (), ((16, 8, 8),))
SWISH = Kernel(Conv2d(16, 1, 2), (BatchNorm2d(), Activation("hardswish")), ((8, 9, 9),))
REGION = Kernel(Conv2d(16, 3), (RELU, Add()), ((16, 8, 8),), ((0,), (1,), (2, 0)))
KERNELS = [SMALL, LARGE, DEPTHWISE, HEAD, SUM, GATE, POOL, SWISH, REGION]


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
@pytest.mark.parametrize("kernel", KERNELS)
def test_in_8_bits_it_computes_what_it_does_in_floats_but_for_rounding(kernel: Kernel) -> None:
    coarse = [int8_tensor(shape) for shape in kernel.inputs]
    whole = float_module(kernel)(*(value.dequantize() for value in coarse))
    rounded = int8_module(kernel)(*coarse)
    assert tuple(whole.shape) == tuple(rounded.shape) == (1, *kernel.output)
    assert rounded.dtype == torch.quint8
    off = (rounded.dequantize() - whole.clamp(-STEP * ZERO, STEP * (255 - ZERO))).abs()
    assert off.mean() < 2 * STEP


def test_a_region_reads_as_it_is_wired() -> None:
    image = torch.randn(1, 16, 8, 8)
    whole = float_module(REGION)
    convolution = float_module(dataclasses.replace(REGION, fused=(), wiring=()))
    torch.testing.assert_close(whole(image), F.relu(convolution(image)) + image)


@dataclass(frozen=True)
class Softened(Activation):
    """An activation that torch's quantized engine has not."""


@stock.register
def _(op: Softened, tensors: Tensors, *inputs: Shape) -> nn.Module:
    return nn.Softplus()


def test_what_has_no_8_bit_form_is_refused() -> None:
    kernel = Kernel(Conv2d(16, 3), (Softened("relu"),), ((16, 8, 8),))
    assert "quantized engine has no nn.Softplus" in str(Torch().refusal(kernel, INT8))
    assert Torch().refusal(kernel, FLOAT) is None
    assert not any(missing_in_int8(known) for known in KERNELS)


def test_a_lone_norm_is_refused() -> None:
    lone = Kernel(BatchNorm2d(), (), ((16, 8, 8),))
    assert "a norm runs in no network that leaves" in str(Torch().refusal(lone, of_bits(None, 32)))


def test_eager_times_both_precisions_and_keeps_the_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    wanted = [(kernel, bits) for kernel in (SMALL, LARGE, HEAD) for bits in (INT8, FLOAT)]
    wanted += [(POOL, of_bits(None, 8)), (POOL, of_bits(None, 32))]
    table = profile(wanted, path=tmp_path / "t.csv", backend=Torch(), budget_ms=FAST)
    assert len(LatencyTable.read(tmp_path / "t.csv").rows) == len(wanted)
    assert all(0 < row.latency_ms < 100 and row.count > 5 for row in table.rows.values())
    small, large = (row.latency_ms for row in [*table.rows.values()][1:4:2])
    assert small < large
    assert torch.get_num_threads() == before


def test_bfloat16_is_stated_and_not_mixed_with_float32(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    half = Torch(dtype=torch.bfloat16)
    table = profile([(SMALL, FLOAT)], path=path, backend=half, budget_ms=FAST)
    assert table.notes["runtime"].endswith("eager, CPU, 32 bits are bfloat16")
    with pytest.raises(TargetError, match=r"32 bits are bfloat16', now it is '.*float32'"):
        profile([(SMALL, FLOAT)], path=path, backend=Torch(), budget_ms=FAST)


@pytest.mark.parametrize(
    ("backend", "bits", "said"),
    [
        (Torch(), of_bits(4, 8), "given int4xint8"),
        (Torch(), of_bits(32, 8), "given floatxint8"),
        (Torch(compiled=True), INT8, "eagerly and on a processor only"),
        (Torch(device="cuda"), INT8, "eagerly and on a processor only"),
    ],
)
def test_what_torch_does_not_run_natively_is_refused(
    backend: Torch, bits: Numerics, said: str, tmp_path: Path
) -> None:
    assert said in str(backend.refusal(SMALL, bits))


def _compiled(path: Path) -> LatencyTable:
    """Two kernels of one form and two sizes, which share no compiled code."""
    kernels = [(Kernel(Conv2d(8 + n, 1), (RELU,), ((8, 4, 4),)), FLOAT) for n in range(2)]
    backend = backend_named("torch-compiled", threads=1)
    with torch._dynamo.config.patch(error_on_recompile=True):
        return profile(kernels, path=path, backend=backend, budget_ms=FAST)


def test_every_kernel_is_compiled_as_a_code_object_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    table = _compiled(tmp_path / "t.csv")
    assert len(table.rows) == 2
    assert "compiled" in table.notes["runtime"]


@pytest.mark.slow
def test_inductor_compiles_what_is_timed(tmp_path: Path) -> None:  # 20 s on one idle core
    counters.clear()
    table = _compiled(tmp_path / "t.csv")
    assert all(row.latency_ms > 0 for row in table.rows.values())
    assert counters["inductor"]


def test_compiling_without_a_compiler_is_refused_before_any_work() -> None:
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, "/no/such/g++")}),
        pytest.raises(TargetError, match=r"needs a C\+\+ compiler.* CXX, or use --backend torch"),
    ):
        backend_named("torch-compiled", threads=1)


@pytest.mark.gpu
def test_cuda_times_kernels(tmp_path: Path) -> None:
    backend = Torch(device="cuda", dtype=torch.bfloat16)
    wanted = [(SMALL, FLOAT), (LARGE, FLOAT)]
    table = profile(wanted, path=tmp_path / "t.csv", backend=backend, budget_ms=FAST)
    assert "CUDA" in table.notes["runtime"]
    assert all(row.latency_ms > 0 for row in table.rows.values())
