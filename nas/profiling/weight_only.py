"""ONNX models of fully connected layers with few-bit weights on float activations.

onnxruntime fuses DequantizeLinear and MatMul into its MatMulNBits kernel, which unpacks weights as
it goes. It does not so with Gemm: there the weights are unpacked into floats at every call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from nas.targets.capability import Bits
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Linear
from search_spaces.quant import FULL_PRECISION_BITS

# Bits -> tensor type, the first opset that has it, and the IR version that this takes.
_STORED = {
    2: (TensorProto.INT2, 25, 13),
    4: (TensorProto.INT4, 21, 10),
    8: (TensorProto.INT8, 21, 10),
}
_SCALE = 0.01
# onnxruntime 1.31.1 gives wrong numbers at 2 bits where outputs are not a multiple of this.
_SOUND_2_BIT = 4


def is_weight_only(kernel: Kernel, bits: Bits) -> bool:
    """Whether `kernel` at `bits` is a layer whose weights alone are stored in few bits."""
    if bits.weight == 2 and kernel.output[0] % _SOUND_2_BIT:
        return False
    return (
        isinstance(kernel.op, Linear)
        and all(isinstance(op, Activation) for op in kernel.fused)
        and bits.weight in _STORED
        and bits.activation == FULL_PRECISION_BITS
    )


def weight_only_model(kernel: Kernel, bits: Bits, *, copies: int) -> bytes:
    """A serialized ONNX model of `copies` of a fully connected layer, each with its own weights.

    Weights are symmetric with a scale per output.

    Args:
        kernel: The layer and activations behind it; `is_weight_only` says whether it can be.
        bits: What it computes in, such as 4x32.
        copies: How many times it is in the model.
    """
    stored, opset, ir_version = _STORED[bits.weight or 0]
    read, (out,) = math.prod(kernel.inputs[0]), kernel.output
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Flatten", ["input"], ["flat"])]
    held = [
        *(helper.make_tensor(f"limit{value}", TensorProto.FLOAT, [], [value]) for value in (0, 6)),
    ]
    half = 1 << (int(bits.weight or 0) - 1)
    made = range(copies)
    for copy in made:
        codes = rng.integers(-half, half, read * out).tolist()
        held.append(helper.make_tensor(f"weight{copy}", stored, [read, out], codes))
        # A scale that two layers share keeps them from fusing.
        held.append(numpy_helper.from_array(np.full(out, _SCALE, np.float32), f"scale{copy}"))
        held.append(numpy_helper.from_array(rng.normal(size=out).astype("f"), f"bias{copy}"))
        nodes += _layer(kernel, str(copy))
    shape = [1, *kernel.inputs[0]]
    graph = helper.make_graph(
        nodes,
        "kernel",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"y{n}", TensorProto.FLOAT, [1, out]) for n in made],
        held,
    )
    imports = [helper.make_opsetid("", opset)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
    return model.SerializeToString()


def _layer(kernel: Kernel, copy: str) -> Iterator[NodeProto]:
    yield helper.make_node(
        "DequantizeLinear", [f"weight{copy}", f"scale{copy}"], [f"floats{copy}"], axis=1
    )
    yield helper.make_node("MatMul", ["flat", f"floats{copy}"], [f"product{copy}"])
    behind = [op.function for op in kernel.fused if isinstance(op, Activation)]
    names = [*(f"step{copy}_{place}" for place in range(len(behind))), f"y{copy}"]
    yield helper.make_node("Add", [f"product{copy}", f"bias{copy}"], [names[0]])
    for function, before, after in zip(behind, names, names[1:], strict=False):
        kind, more, attributes = _ACTIVATIONS[function]
        yield helper.make_node(kind, [before, *more], [after], **attributes)


_ACTIVATIONS: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "relu": ("Relu", [], {}),
    "relu6": ("Clip", ["limit0", "limit6"], {}),
    "hardswish": ("HardSwish", [], {}),
    "hardsigmoid": ("HardSigmoid", [], {"alpha": 1 / 6, "beta": 0.5}),
}
