"""Files carry the names, shapes and types of the inputs, and resize what comes in another size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nas.export import FORMS, Exporter, bytes_of, export_onnx, verify
from nas.export.plain.plain_network import load_network
from nas.export.stand_in import stand_in
from nas.tasks.criteria import Classification
from nas.testing.deployment import installed
from search_spaces.graph import Graph
from search_spaces.ops import Add, Conv2d, Embedding, Flatten, GlobalPool, Input, Linear, Resize
from supernets.deployed import Deployed
from supernets.inputs import Inputs

IMAGE, TOKENS = Input("w1", (3, 5, 5)), Input("t1", (4,), "int64")


@pytest.fixture(scope="module")
def network() -> Deployed:
    """Two inputs with names that tensors of ONNX files have, and one that nobody reads."""
    graph = Graph(IMAGE, TOKENS, Input("spare", (2,)))
    graph.add("image.resize", Resize((7, 6)), "w1")
    graph.add("image.same", Resize((7, 6)))
    graph.add("image.conv", Conv2d(4, 3))
    graph.add("image.pool", GlobalPool())
    graph.add("image.flat", Flatten())
    graph.add("image.head", Linear(3))
    graph.add("words.table", Embedding(6, 2), "t1")
    graph.add("words.flat", Flatten())
    graph.add("words.head", Linear(3))
    graph.add("sum", Add(), "image.head", "words.head")
    return stand_in(graph)


@pytest.fixture(scope="module")
def given() -> Inputs:
    generator = torch.Generator().manual_seed(0)
    return {
        "spare": torch.randn(40, 2, generator=generator),
        "t1": torch.randint(0, 6, (40, 4), generator=generator),
        "w1": torch.randn(40, 3, 5, 5, generator=generator),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # ExecuTorch's
@pytest.mark.parametrize("form", [*installed()], ids=lambda form: form.name)
def test_every_form_reads_its_inputs_by_name(
    form: Exporter, network: Deployed, given: Inputs, tmp_path: Path
) -> None:
    path = tmp_path / f"net{form.suffix}"
    form.write(network, path)
    with torch.no_grad():
        ours = network.module()(**given)
    found = verify(path, network, given, ours.argmax(1), criterion=Classification())
    assert found.largest_difference < 1e-4
    stated = json.loads(form.open(path, network.graph).metadata["inputs"])
    assert stated == {
        op.name: {"shape": [*op.shape], "dtype": op.dtype} for op in network.graph.inputs.values()
    }


def test_an_onnx_file_declares_names_shapes_and_types(network: Deployed, tmp_path: Path) -> None:
    export_onnx(network, tmp_path / "net.onnx")
    body = onnx.load(tmp_path / "net.onnx").graph
    declared = {
        given.name: (
            onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type),
            tuple(axis.dim_value or axis.dim_param for axis in given.type.tensor_type.shape.dim),
        )
        for given in (*body.input, *body.output)
    }
    assert declared == {
        "w1": (np.float32, ("batch", 3, 5, 5)),
        "t1": (np.int64, ("batch", 4)),
        "spare": (np.float32, ("batch", 2)),
        "output": (np.float32, ("batch", 3)),
    }
    assert [node.op_type for node in body.node].count("Resize") == 1  # the second changes nothing


def test_a_program_and_a_source_have_arguments_of_these_names(
    network: Deployed, given: Inputs, tmp_path: Path
) -> None:
    for name in ("torch", "torch-export"):
        FORMS[name].write(network, tmp_path / f"net{FORMS[name].suffix}")
    program = torch.export.load(tmp_path / "net.pt2")
    assert program.graph_signature.user_inputs == ("w1", "t1", "spare")
    plain = load_network(tmp_path / "net.torch")
    text = (tmp_path / "net.torch" / "model.py").read_text()
    assert "output = network(w1, t1, spare)  # (batch, 3)" in text
    assert "`t1` is int64 (batch, 4)." in text
    with torch.no_grad():
        assert torch.equal(plain(given["w1"], given["t1"], given["spare"]), plain(**given))


def test_the_bytes_of_a_file_with_several_inputs_are_foretold(
    network: Deployed, tmp_path: Path
) -> None:
    metadata = {"genotype": "0," * 20, "space": "0" * 16, "run": "digits", "target": "this-cpu"}
    named = replace(network, metadata=metadata)
    for name in ("onnx", "torch"):
        path = tmp_path / f"net{FORMS[name].suffix}"
        FORMS[name].write(named, path)
        foretold = FORMS[name].foretold_bytes(named)
        assert foretold == pytest.approx(bytes_of(path), rel=0.05, abs=200), name
