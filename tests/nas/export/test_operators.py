"""Every operator in an ONNX file: as onnx's own reference evaluator and onnxruntime run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from nas.export import export_onnx
from nas.export.runtime import kernels_run
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    AdaptiveAvgPool2d,
    Add,
    Affine,
    AvgPool2d,
    Clamp,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GroupNorm,
    Input,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Mean,
    Op,
    Pad,
    Permute,
    Reshape,
    Scale,
    Slice,
)
from search_spaces.quant import PerChannel, PerTensor, Quant
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.deployed import Deployed
from supernets.extract import extract
from supernets.supernet import Supernet
from tests.nas.export.kinds import exact_logits

IMAGES = torch.randn(24, 4, 7, 7, generator=torch.Generator().manual_seed(3))
READ = Quant(Int(8, symmetric=False), PerTensor())
WEIGHT = Quant(Int(8), PerChannel())
Chain = Sequence[Op]


def convolution(**window: object) -> Op:
    return Conv2d(4, 3, **window)  # pyright: ignore[reportArgumentType]


# What stands between the image and a last layer, by name; every operator reads as it is made.
CHAINS: dict[str, Callable[[Quant | None], Chain]] = {
    "groups": lambda _: [convolution(groups=2)],
    "groups of one": lambda _: [convolution(groups=4)],
    "dilation": lambda _: [convolution(dilation=2, stride=2)],
    "rectangle": lambda _: [Conv2d(4, (1, 5), (2, 1), dilation=(1, 2))],
    "even": lambda _: [Conv2d(4, (2, 4), padding=(1, 2, 0, 1))],
    "unpadded": lambda _: [Conv2d(4, 3, padding=0)],
    "depthwise": lambda _: [DepthwiseConv2d((3, 2), 2, padding=(1, 0, 0, 1))],
    "largest": lambda read: [MaxPool2d(3, 2, 1, read)],
    "largest, one side": lambda read: [MaxPool2d(2, 2, (1, 0, 1, 0), read)],
    "largest, wide": lambda read: [MaxPool2d(3, 1, 2, read)],
    "largest, of floats": lambda _: [MaxPool2d(3, 2, 1), convolution()],
    "average": lambda read: [AvgPool2d(3, 2, 1, read)],
    "average, one side": lambda read: [AvgPool2d((3, 2), (1, 2), (2, 0, 0, 1), read)],
    "average, wide": lambda read: [AvgPool2d(3, 1, 2, read)],
    "groups of a norm": lambda read: [GroupNorm(2, activation=read)],
    "tokens": lambda read: [Reshape((4, -1)), Permute((1, 0)), LayerNorm(activation=read)],
    "rows": lambda _: [Flatten(1), Permute((1, 0)), Reshape((7, 28)), Linear(5), Flatten()],
    "turned, clamped": lambda _: [Activation("relu6"), Permute((1, 2, 0)), Activation("relu")],
    "turned twice": lambda _: [Permute((2, 0, 1)), Permute((1, 2, 0)), Reshape((4, 7, 7))],
    "means": lambda read: [Mean((2,), keeps=True, activation=read), convolution()],
    "adaptive": lambda read: [AdaptiveAvgPool2d((3, 5), read)],
    "adaptive, to one": lambda read: [AdaptiveAvgPool2d(1, read)],
    "average of the image": lambda read: [AvgPool2d(3, 2, 1, read, counts_padding=False)],
    "affine": lambda read: [Affine(activation=read), Scale(0.3, 0.1), Affine(-1)],
    "scale": lambda read: [Scale(1 / 3, activation=read), Scale(1.0, -0.5, read)],
    "clamped": lambda read: [Clamp(-0.2, 1 / 3, read), Clamp(high=0.25)],
    "cut": lambda _: [Pad((0, 1, 2), (0, 0, 1), value=0.5), Slice(1, 1, 8, 3), Slice(0, 1, 3)],
    "mirrored": lambda _: [Pad((0, 2, 0), (0, 1, 3), "reflect"), Pad((0, 1, 0), (0, 0, 1), "edge")],
    "functions": lambda read: [Activation("elu", read), Activation("mish"), Activation("selu")],
    "softplus": lambda read: [Activation("gelu_tanh", read), Activation("softplus")],
    "leaky": lambda read: [LeakyReLU(0.2, read)],
    **{
        function: lambda read, function=function: [Activation(function, read)]
        for function in ("gelu", "silu", "sigmoid", "tanh")
    },
}


def chain_of(ops: Chain, *, weight: Quant | None, read: Quant | None) -> Graph:
    """A stem, the operators in a row, and a last layer; all weights at one precision."""
    graph, bits = Graph(Input("image", (4, 7, 7))), {"weight": weight, "activation": read}
    graph.add("stem", Conv2d(4, 1, bias=True, **bits))
    for number, op in enumerate(ops):
        weighted = "weight" in op.__dataclass_fields__
        graph.add(f"op{number}", replace(op, **bits) if weighted else op)
    graph.add("flat", Flatten())
    graph.add("head", Linear(6, **bits))
    return graph


def deployed(graph: Graph) -> Deployed:
    supernet = Supernet(SearchSpace(graph), seed=1)
    initialise_steps(supernet, [IMAGES])
    return deploy(extract(supernet, (), [IMAGES]))


def answers(network: Deployed, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the network, of onnx's reference evaluator and of onnxruntime."""
    export_onnx(network, path)
    with torch.no_grad():
        ours = network.module()(IMAGES).numpy()
    (reference,) = ReferenceEvaluator(str(path)).run(None, {"image": IMAGES.numpy()})
    ran = exact_logits(path, IMAGES)
    onnx.checker.check_model(path, full_check=True)
    return ours, np.asarray(reference), ran


@pytest.mark.parametrize("name", CHAINS)
def test_in_floats_all_give_the_same(name: str, tmp_path: Path) -> None:
    graph = chain_of(CHAINS[name](None), weight=None, read=None)
    ours, reference, ran = answers(deployed(graph), tmp_path / "net.onnx")
    np.testing.assert_allclose(reference, ours, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ran, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_quantized_all_give_the_same(name: str, symmetric: bool, tmp_path: Path) -> None:
    """A tie may be rounded the other way, which few images show."""
    read = Quant(Int(8, symmetric=symmetric), PerTensor())
    graph = chain_of(CHAINS[name](read), weight=WEIGHT, read=read)
    ours, reference, ran = answers(deployed(graph), tmp_path / "net.onnx")
    for found in (reference, ran):
        close = np.isclose(found, ours, rtol=1e-4, atol=1e-4).all(1)
        assert close.mean() > 0.75
        assert np.abs(found - ours).max() < 0.1 * ours.std()


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("name", CHAINS)
def test_few_bit_weights_on_floats_give_the_same(name: str, bits: int, tmp_path: Path) -> None:
    """What reads a grid and computes in floats keeps its weights as they are."""
    weight = Quant(Int(bits, symmetric=False), PerTensor())
    graph = chain_of(CHAINS[name](READ), weight=weight, read=None)
    ours, _, ran = answers(deployed(graph), tmp_path / "net.onnx")
    close = np.isclose(ran, ours, rtol=1e-4, atol=1e-4).all(1)
    assert close.mean() > 0.75


def test_branches_are_joined(tmp_path: Path) -> None:
    graph = Graph(Input("image", (4, 7, 7)))
    bits = {"weight": WEIGHT, "activation": READ}
    graph.add("left", Conv2d(3, 1, **bits), "input")
    graph.add("right", Conv2d(2, 3, **bits), "input")
    graph.add("join", Concat(3, READ), "left", "right", "input")
    graph.add("flat", Flatten())
    graph.add("head", Linear(6, **bits))
    ours, reference, ran = answers(deployed(graph), tmp_path / "net.onnx")
    np.testing.assert_allclose(reference, ours, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ran, ours, rtol=1e-4, atol=1e-4)
    assert kernels_run(tmp_path / "net.onnx")["QLinearConcat"] == 1


def test_a_view_of_what_others_read_too(tmp_path: Path) -> None:
    graph = Graph(Input("image", (4, 7, 7)))
    bits = {"weight": WEIGHT, "activation": READ}
    x = graph.add("stem", Conv2d(4, 1, **bits))
    rows = graph.add("rows", Reshape((4, 49)), x)
    graph.add("mixed", Linear(49, **bits), rows)
    graph.add("both", Add(READ), "mixed", rows)
    graph.add("back", Reshape((4, 7, 7)))
    graph.add("sum", Add(READ), "back", x)
    graph.add("flat", Flatten())
    graph.add("head", Linear(6, **bits))
    ours, reference, ran = answers(deployed(graph), tmp_path / "net.onnx")
    np.testing.assert_allclose(reference, ours, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ran, ours, rtol=1e-4, atol=1e-4)


def test_a_shortcut_of_every_second_pixel_stays_on_integers(tmp_path: Path) -> None:
    graph = Graph(Input("image", (4, 7, 7)))
    bits = {"weight": WEIGHT, "activation": READ}
    graph.add("stem", Conv2d(4, 1, **bits))
    x = graph.add("both", Add(READ), "stem", "input")
    mixed = graph.add("mixed", Conv2d(6, 1, stride=(2, 1), **bits), x)
    part = graph.add("part", Slice(1, 0, 7, 2), x)
    short = graph.add("short", Pad((1, 0, 0), (1, 0, 0)), part)
    graph.add("sum", Add(READ), mixed, short)
    graph.add("flat", Flatten())
    graph.add("head", Linear(6, **bits))
    made = deployed(graph)
    made = replace(made, inputs={**made.inputs, ("sum", 1): made.inputs["mixed", 0]})
    ours, reference, ran = answers(made, tmp_path / "net.onnx")
    np.testing.assert_allclose(reference, ours, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ran, ours, rtol=1e-4, atol=1e-4)
    run = kernels_run(tmp_path / "net.onnx")
    assert run["QLinearAdd"] == 2
    assert "Add" not in run


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("groups", {"QLinearConv": 2, "QGemm": 1}),
        ("even", {"QLinearConv": 2, "QGemm": 1}),
        ("largest", {"QLinearConv": 1, "QGemm": 1}),
        ("rows", {"QLinearConv": 1, "MatMulIntegerToFloat": 1, "QGemm": 1}),
    ],
)
def test_integers_stay_integers(name: str, kernels: dict[str, int], tmp_path: Path) -> None:
    graph = chain_of(CHAINS[name](READ), weight=WEIGHT, read=READ)
    export_onnx(deployed(graph), tmp_path / "net.onnx")
    run = kernels_run(tmp_path / "net.onnx")
    assert {kind: run[kind] for kind in kernels} == kernels
    assert not {"Conv", "FusedConv", "Gemm", "MatMul"} & set(run)
