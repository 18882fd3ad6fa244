"""Small floats and groups of input channels in ONNX files, against the reference evaluator."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnxruntime import InferenceSession

from nas.export import ExportError, export_onnx, rehearse, verify
from nas.export.check import check_policy
from nas.export.form import Held
from nas.export.forms import FORMS
from nas.export.runtime import kernels_run
from nas.export.size import file_bytes
from nas.export.stand_in import stand_in
from nas.export.stored_bits import read_policy
from nas.tasks.criteria import Regression
from nas.testing.deployment import METADATA
from search_spaces.formats import BFLOAT16, E2M1, E2M3, E3M2, E4M3, E5M2, FLOAT16, Float, Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, Conv2d, Embedding, Flatten, Input, Linear
from search_spaces.policy import full_precision
from search_spaces.quant import Float16, PerChannel, PerGroup, PerTensor, PowerOfTwo, Quant

UNSIGNED = Quant(Int(8, symmetric=False))


def convolutions(weight: Quant, activation: Quant | None) -> Graph:
    """Convolutions and a fully connected layer, all of whose channels fall into groups of 8."""
    graph, edge = Graph(Input("image", (8, 6, 6))), {"weight": weight, "activation": activation}
    graph.add("conv", Conv2d(16, 3, **edge))
    graph.add("relu", Activation("relu"))
    graph.add("narrow", Conv2d(8, 1, stride=2, **edge))
    graph.add("flat", Flatten())
    graph.add("head", Linear(12, **edge))
    return graph


def tokens(weight: Quant, activation: Quant | None) -> Graph:
    """Fully connected layers on the last axis of tokens."""
    graph = Graph(Input("tokens", (5, 32)))
    graph.add("one", Linear(64, weight=weight, activation=activation))
    graph.add("relu", Activation("relu6"))
    graph.add("two", Linear(12, weight=weight, activation=activation))
    return graph


WEIGHTS = [
    *(Quant(made, grain) for made in (E4M3, E5M2) for grain in (PerTensor(), PerChannel())),
    *(Quant(made, PerGroup(8)) for made in (E4M3, E5M2)),
    Quant(Int(4), PerGroup(8)),
    Quant(Int(4, symmetric=False), PerGroup(8, Float16())),
    Quant(Int(8), PerGroup(8, PowerOfTwo())),
    Quant(Int(8, symmetric=False), PerGroup(8)),
    Quant(Int(2), PerGroup(8)),
    Quant(Int(3), PerGroup(8)),
]
INPUTS = [None, UNSIGNED, Quant(E4M3), Quant(E5M2)]
HALF, BRAIN = Quant(FLOAT16), Quant(BFLOAT16)
PAIRS = [
    *itertools.product(WEIGHTS, INPUTS),
    *[(HALF, None), (HALF, HALF), (HALF, UNSIGNED), (BRAIN, None), (BRAIN, BRAIN)],
    *[(Quant(Int(4), PerGroup(8)), HALF), (Quant(Int(8), PerChannel()), BRAIN)],
]

STEPS = {HALF: 2.0**-11, BRAIN: 2.0**-8}


def named(quant: Quant | None) -> str:
    return "float" if quant is None else f"{quant.name}-{quant.granularity.name}"


@pytest.mark.parametrize(("weight", "activation"), PAIRS, ids=named)
@pytest.mark.parametrize("made", [convolutions, tokens])
def test_a_file_computes_the_network(
    made: Callable[..., Graph], weight: Quant, activation: Quant | None, tmp_path: Path
) -> None:
    deployed, path = (
        replace(stand_in(made(weight, activation)), metadata=METADATA),
        tmp_path / "net.onnx",
    )
    report = export_onnx(deployed, path)
    (given,) = deployed.graph.inputs.values()
    x = np.random.default_rng(0).normal(size=(4, *given.shape)).astype(np.float32)
    with torch.no_grad():
        ours = deployed.module().eval()(torch.from_numpy(x)).numpy()
    (reference,) = ReferenceEvaluator(onnx.load(path)).run(None, {given.name: x})
    # Sums in another order may be rounded to the next number of 16 bits.
    near = STEPS.get(activation, 1e-4)
    assert np.abs(reference - ours).max() <= near * np.abs(ours).max()
    targets = torch.zeros(ours.shape)
    found = verify(path, deployed, torch.from_numpy(x), targets, criterion=Regression())
    assert found.largest_difference <= near * np.abs(ours).max()
    assert file_bytes(deployed.graph) == pytest.approx(report.file_bytes, rel=0.05, abs=250)


@pytest.mark.parametrize("made", [E2M1, E2M3, E3M2], ids=lambda made: made.name)
def test_floats_that_no_runtime_computes_in_are_refused_before_training(made: Float) -> None:
    for graph in (tokens(Quant(made), None), tokens(Quant(Int(8)), Quant(made))):
        with pytest.raises(ExportError, match=rf"{made.name} has no type .*e4m3, e5m2.*leave"):
            rehearse(FORMS["onnx"], [stand_in(graph)])


@pytest.mark.parametrize("made", [FLOAT16, BFLOAT16], ids=lambda made: made.name)
def test_floats_of_16_bits_take_half_the_room_and_saturate(made: Float, tmp_path: Path) -> None:
    graph = Graph(Input("rows", (256,)))
    graph.add("wide", Linear(256, weight=Quant(made), activation=Quant(made)))
    deployed = stand_in(graph)
    whole, half = (tmp_path / name for name in ("whole.onnx", "half.onnx"))
    sizes = [
        export_onnx(one, path).file_bytes
        for one, path in ((stand_in(full_precision(graph)), whole), (deployed, half))
    ]
    assert 256 * 256 * 2 < sizes[0] - sizes[1] + 600 < 256 * 256 * 2 + 1200
    x = np.full((1, 256), 1e6, np.float32)
    ours = deployed.module()(torch.from_numpy(x)).detach().numpy()
    (theirs,) = InferenceSession(half).run(None, {"rows": x})
    np.testing.assert_allclose(theirs, ours, rtol=1e-4)
    assert np.isfinite(theirs).all()


def test_a_table_has_floats_of_16_bits(tmp_path: Path) -> None:
    table = Graph(Input("tokens", (5,), "int64"))
    table.add("table", Embedding(7, 16, weight=Quant(BFLOAT16)))
    table.add("head", Linear(3))
    deployed, path = replace(stand_in(table), metadata=METADATA), tmp_path / "net.onnx"
    export_onnx(deployed, path)
    x = torch.tensor([[0, 3, 6, 6, 1]])
    opened = FORMS["onnx"].open(path, deployed.graph)
    np.testing.assert_allclose(opened.run({"tokens": x}), deployed.module()(x).detach(), atol=1e-6)
    assert opened.quantizers == 0
    assert opened.policy["table"].weight == Held(16, symmetric=True, container="BFLOAT16", scales=1)


def test_a_table_has_no_groups_and_no_small_floats(tmp_path: Path) -> None:
    for quant in (Quant(E4M3), Quant(Int(4), PerGroup(8))):
        table = Graph(Input("tokens", (5,), "int64"))
        table.add("table", Embedding(7, 16, weight=quant))
        with pytest.raises(ExportError, match="a table of embeddings leaves as floats of 16"):
            export_onnx(stand_in(table), tmp_path / "net.onnx")


@pytest.mark.parametrize("form", ["torch", "torch-export", "openvino", "executorch"])
@pytest.mark.parametrize(
    "weight", [Quant(E5M2), Quant(FLOAT16), Quant(Int(4), PerGroup(8))], ids=named
)
def test_forms_of_integers_refuse_others_before_training(form: str, weight: Quant) -> None:
    with pytest.raises(ExportError, match=rf"{weight.name} .* at 'one'; export as 'onnx'"):
        rehearse(FORMS[form], [stand_in(tokens(weight, None))])


@pytest.mark.parametrize("wrong", ["FLOAT8E5M2", "INT8"])
def test_another_type_of_floats_is_no_export_of_the_policy(wrong: str, tmp_path: Path) -> None:
    deployed, path = stand_in(tokens(Quant(E4M3), Quant(E4M3))), tmp_path / "net.onnx"
    export_onnx(deployed, path)
    held = read_policy(path)
    found = held["one"].activations[0]
    assert found is not None
    assert found.container == "FLOAT8E4M3FN"
    changed = {**held, "one": replace(held["one"], activations=(replace(found, container=wrong),))}
    with pytest.raises(ExportError, match=r"activation at one, input 0 is .*exponent=4"):
        check_policy(changed, deployed, FORMS["onnx"])


def test_groups_run_as_few_bit_kernels_where_onnxruntime_has_them(tmp_path: Path) -> None:
    """Blocks of 16 or more input channels, of a product whose input is in floats."""
    path = tmp_path / "net.onnx"
    export_onnx(stand_in(tokens(Quant(Int(4), PerGroup(16)), None)), path)
    assert kernels_run(path)["MatMulNBits"] == 2
