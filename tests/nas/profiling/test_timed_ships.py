"""What is timed is what ships: a kernel's model runs the kernels that a whole file runs for it."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from nas.export import export_onnx
from nas.export.runtime import kernels_run
from nas.export.stand_in import stand_in
from nas.profiling.kernel_models import kernel_model
from nas.profiling.kernel_networks import kernel_graph
from nas.targets.numerics import Numerics, of_bits
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.ops import (
    Activation,
    Add,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
    MatMul,
    Multiply,
    Op,
    RMSNorm,
    Softmax,
)
from search_spaces.quant import PerChannel, Quant

CODES = Quant(Int(8, symmetric=False))
RELU, SWISH = Activation("relu"), Activation("hardswish", CODES)
IMAGE, VECTOR = (16, 8, 8), (12,)
# Where layouts change is not the same in a kernel by itself; its output is cut by a pooling.
AT_THE_ENDS = ("ReorderInput", "ReorderOutput", "Transpose", "MaxPool", "NhwcMaxPool")


def weighted(op: Op, *fused: Op) -> Kernel:
    return Kernel(op, fused, (IMAGE if isinstance(op, Conv2d | DepthwiseConv2d) else VECTOR,))


CASES = [
    *(
        (weighted(Conv2d(16, 3), RELU), of_bits(w, a))
        for w, a in ((8, 8), (7, 8), (32, 8), (32, 32))
    ),
    *((weighted(DepthwiseConv2d(3), RELU), of_bits(w, a)) for w, a in ((8, 8), (32, 8), (32, 32))),
    (weighted(Conv2d(16, 3), SWISH), of_bits(8, 8)),
    *((weighted(Linear(12)), of_bits(w, a)) for w, a in ((8, 8), (4, 32), (2, 32), (32, 32))),
    (weighted(Linear(12), RELU), of_bits(4, 32)),
    (weighted(Linear(12), Activation("relu6")), of_bits(4, 32)),
    *((Kernel(Add(), (RELU,), (IMAGE,) * 2), of_bits(None, bits)) for bits in (8, 32)),
    *((Kernel(GlobalPool(), (), (IMAGE,)), of_bits(None, bits)) for bits in (8, 32)),
    (Kernel(SWISH, (), (IMAGE,)), of_bits(None, 8)),
    (Kernel(Multiply(), (), (IMAGE, (16, 1, 1))), of_bits(None, 8)),
    *(
        (Kernel(MatMul(transposed, scale), (), (IMAGE,) * 2), of_bits(None, bits))
        for transposed, scale, bits in itertools.product((False, True), (1.0, 0.25), (8, 32))
    ),
    *((Kernel(Softmax(causal), (), (IMAGE,)), of_bits(None, 32)) for causal in (False, True)),
    (Kernel(RMSNorm(), (), (IMAGE,)), of_bits(None, 32)),
]


@pytest.mark.parametrize(("kernel", "bits"), CASES, ids=str)
def test_a_timed_kernel_runs_as_in_a_whole_network(
    kernel: Kernel, bits: Numerics, tmp_path: Path
) -> None:
    path = tmp_path / "kernel.onnx"
    path.write_bytes(kernel_model(kernel, bits))
    alone = _inside(kernels_run(path))
    twice, once = (_whole(kernel, bits, times, tmp_path) for times in (2, 1))
    assert twice == once + alone


def _inside(kernels: Counter[str]) -> Counter[str]:
    return Counter({kind: n for kind, n in kernels.items() if kind not in AT_THE_ENDS})


def _whole(kernel: Kernel, bits: Numerics, times: int, folder: Path) -> Counter[str]:
    """What onnxruntime runs of a network with the kernel in it so many times, in a row."""
    activation = None if bits.activation == "float" else CODES
    weight = Quant(Int(8), PerChannel()) if activation and bits.weight != "float" else None
    both = {"weight": weight, "activation": activation}
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("stem", Conv2d(16, 3, **both))
    gate = graph.add("gate", GlobalPool(activation))
    value = graph.add("trunk", Conv2d(16, 3, **both), "stem")
    if kernel.inputs[0] == VECTOR:
        graph.add("flat", Flatten(), gate)
        value = graph.add("wide", Linear(VECTOR[0], **both))
    reads = {IMAGE: "trunk", (16, 1, 1): gate, VECTOR: value}
    for turn in range(times):
        copied = {f"input{n}": reads[shape] for n, shape in enumerate(kernel.inputs)}
        copied["input0"] = value
        for address, node in kernel_graph(kernel, bits, copy=turn).nodes.items():
            if node.inputs:
                value = graph.add(address, node.op, *(copied[read] for read in node.inputs))
                copied[address] = value
    flat = value if kernel.inputs[0] == VECTOR else graph.add("flat", Flatten(), value)
    graph.add("head", Linear(10, **both), flat)
    export_onnx(stand_in(graph), folder / "whole.onnx")
    return _inside(kernels_run(folder / "whole.onnx"))
