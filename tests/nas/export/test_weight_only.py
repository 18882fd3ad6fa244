"""Few-bit weights that meet floats in a fully connected layer: unpacked as the product goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.export import ONNX_FUSION, export_onnx, onnx_bytes, read_policy, verify
from nas.export.form import Held
from nas.export.onnx_operators import is_sound
from nas.export.runtime import file_outputs, kernels_run
from nas.export.stand_in import stand_in
from nas.tasks.criteria import Classification
from nas.testing.networks import IMAGES
from search_spaces.costs import total
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, Flatten, Input, Linear, Nonlinearity
from search_spaces.quant import PerChannel, PerTensor, Quant
from supernets.deployed import Deployed

CODES = Quant(Int(8, symmetric=False))
WEIGHTS = [
    Quant(Int(bits, symmetric), granularity)
    for bits in (2, 3, 4, 8)
    for granularity in (PerTensor(), PerChannel())
    for symmetric in (True, False)
]


def network(
    weight: Quant,
    *,
    out: int = 12,
    function: Nonlinearity = "relu",
    after: Quant | None = None,
    head: int = 10,
) -> Deployed:
    graph = Graph(Input("image", (1, 8, 8)))
    graph.add("flat", Flatten())
    graph.add("wide", Linear(out, weight=weight))
    graph.add("wide.act", Activation(function))
    graph.add("head", Linear(head, activation=after))
    return stand_in(graph)


def logits(deployed: Deployed) -> np.ndarray:
    with torch.no_grad():
        return deployed.module()(IMAGES).numpy()


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
def test_it_computes_the_network_and_holds_its_codes(weight: Quant, tmp_path: Path) -> None:
    deployed, path = network(weight), tmp_path / "net.onnx"
    export_onnx(deployed, path)
    ours = logits(deployed)
    checked = verify(
        path, deployed, IMAGES, torch.from_numpy(ours.argmax(1)), criterion=Classification()
    )
    assert checked.largest_difference <= 1e-5 * np.abs(ours).max()
    held = checked.policy["wide"]
    assert held.weight is not None
    assert (held.weight.bits, held.weight.symmetric) == (weight.bits, weight.integers.symmetric)
    assert held.weight.scales == (1 if weight.granularity.single else 12)


@pytest.mark.parametrize("after", [None, CODES], ids=["before floats", "before codes"])
@pytest.mark.parametrize("function", ["relu", "relu6", "hardswish"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_whatever_follows_nothing_is_unpacked_in_every_run(
    bits: int, function: Nonlinearity, after: Quant | None, tmp_path: Path
) -> None:
    deployed = network(Quant(Int(bits), PerChannel()), function=function, after=after)
    export_onnx(deployed, tmp_path / "net.onnx")
    kernels = kernels_run(tmp_path / "net.onnx")
    assert kernels["MatMulNBits"] == 1
    assert kernels["DequantizeLinear"] == (after is not None)


@pytest.mark.parametrize("symmetric", [True, False])
def test_two_bits_of_outputs_that_are_no_multiple_of_four_run_as_floats(
    symmetric: bool, tmp_path: Path
) -> None:
    assert not is_sound(2, outputs=10)
    assert is_sound(2, outputs=12)
    assert is_sound(4, outputs=10)
    deployed = network(Quant(Int(2, symmetric), PerChannel()), out=10)
    export_onnx(deployed, tmp_path / "net.onnx")
    assert kernels_run(tmp_path / "net.onnx").keys() <= {"Flatten", "FusedGemm", "Gemm"}
    assert read_policy(tmp_path / "net.onnx")["wide"].weight == Held(
        2, symmetric, "INT2" if symmetric else "UINT2", 10
    )
    ours = logits(deployed)
    (found,) = file_outputs(tmp_path / "net.onnx", [{"image": IMAGES}])
    np.testing.assert_allclose(found, ours, atol=1e-5 * np.abs(ours).max())


def test_its_bytes_are_foretold(tmp_path: Path) -> None:
    for weight in (Quant(Int(4), PerChannel()), Quant(Int(2, symmetric=False), PerTensor())):
        deployed = replace(network(weight, out=256), metadata={"run": "weight-only"})
        written = export_onnx(deployed, tmp_path / "net.onnx").file_bytes
        foretold = total(onnx_bytes, deployed.graph, ONNX_FUSION)
        assert foretold == pytest.approx(written, rel=0.03)
