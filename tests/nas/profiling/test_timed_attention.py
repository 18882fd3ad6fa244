"""The kernels of a transformer, each timed alone, are those that onnxruntime runs for the whole.

So the fusion patterns of this machine say what onnxruntime really fuses in our files: additions
with the layer norm behind them, and neither attention nor additions with an RMS norm.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nas.export import export_onnx
from nas.export.runtime import kernels_run
from nas.export.stand_in import stand_in
from nas.profiling.kernel_models import kernel_model
from nas.targets import load_target
from nas.targets.target import HardwareTarget
from search_spaces.graph import Graph
from search_spaces.kernels import kernels
from search_spaces.language_model import language_model
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.transformer_encoder import transformer_encoder

ONE: dict[str, Any] = {
    "widths": (64,),
    "depths": (1,),
    "heads": (4,),
    "head_sizes": (16,),
    "hidden": (32,),
}
# Conversions between formats, and what only moves numbers, depends on the neighbours of a kernel.
BETWEEN = ("QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape", "Max")


def network(kind: str, bits: int | None) -> Graph:
    policy = Policy(weight_bits=(bits,), activation_bits=(bits,), edge_bits=bits)
    if kind == "encoder":
        space = transformer_encoder((Input("rows", (32, 16)),), (5,), **ONE, policy=policy)
    else:
        tokens = Input("tokens", (32,), "int64")
        space = language_model((tokens,), (32, 11), **ONE, policy=policy)
    return space.decode(space.largest)


def timed(graph: Graph, target: HardwareTarget, path: Path) -> Counter[str]:
    """What onnxruntime runs for all kernels of a network together, each in a file of its own."""
    found = Counter[str]()
    for _, kernel in kernels(graph, target.fusion):
        bits = target.numerics(kernel)
        if kernel.runs and bits is not None:
            path.write_bytes(kernel_model(kernel, bits))
            found.update(kernels_run(path))
    return found


@pytest.mark.parametrize("bits", [None, 8], ids=["floats", "codes"])
@pytest.mark.parametrize("kind", ["encoder", "language model"])
def test_what_is_timed_is_what_runs(kind: str, bits: int | None, tmp_path: Path) -> None:
    graph, path = network(kind, bits), tmp_path / "net.onnx"
    export_onnx(stand_in(graph), path)
    whole, alone = Counter(kernels_run(path)), timed(graph, load_target("this-cpu"), path)
    for counted in (whole, alone):
        for name in BETWEEN:
            counted.pop(name, None)
    if (kind, bits) == ("encoder", None):
        assert whole["SkipLayerNormalization"] == 1
        alone["Add"] -= 1  # the bias of the layer before, which the fused norm adds too
    assert whole == alone
    assert not {"Attention", "MultiHeadAttention"} & whole.keys()
