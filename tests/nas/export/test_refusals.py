"""What no file can hold is refused with a sentence, and never taken for something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.export import FORMS, ExportError, export_onnx, torch_calls
from nas.export.stand_in import stand_in
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, Flatten, Input, Linear, Opaque, Outputs, Read
from search_spaces.quant import PerChannel, PerGroup, PerTensor, Quant
from supernets.deployed import Deployed
from supernets.encoded import ActivationScale, EncodedTensor

ALWAYS = ("onnx", "torch", "torch-export")


@pytest.fixture
def network() -> Deployed:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("conv", Conv2d(4, 3, weight=Quant(Int(4), PerChannel())))
    graph.add("flat", Flatten())
    graph.add("head", Linear(5))
    return stand_in(graph)


@pytest.mark.parametrize("name", ALWAYS)
def test_metadata_that_are_no_texts(name: str, network: Deployed, tmp_path: Path) -> None:
    numbered = replace(network, metadata={"run": 3})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ExportError, match="metadata 'run' must be a string, given 3"):
        FORMS[name].write(numbered, tmp_path / f"net{FORMS[name].suffix}")


def test_weights_and_inputs_on_grids_of_another_granularity() -> None:
    codes, ones = np.zeros((4, 6), np.int32), np.ones(4, np.float32)
    zeros = np.zeros(4, np.int32)
    with pytest.raises(ValueError, match=r"PerGroup\(size=3.*of shape \(4, 2\), given \(4,\) and"):
        EncodedTensor(codes, ones, zeros, Quant(Int(4), PerGroup(3)))
    with pytest.raises(ValueError, match=r"points of shape \(1,\), given \(4,\) and \(4,\)"):
        EncodedTensor(codes, ones, zeros, Quant(Int(4), PerTensor()))
    with pytest.raises(ValueError, match=r"points of shape \(4,\), given \(1,\) and \(4,\)"):
        EncodedTensor(codes, ones[:1], zeros, Quant(Int(4), PerChannel()))
    with pytest.raises(ValueError, match="one scale for the whole tensor"):
        ActivationScale(0.1, 0, Quant(Int(8), PerChannel()))


def test_an_arrangement_of_weights_that_there_is_not(network: Deployed, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="one of unsigned, signed, given 'shifted'"):
        export_onnx(network, tmp_path / "net.onnx", eight_bit_weights="shifted")  # pyright: ignore[reportArgumentType]


def test_outputs_that_have_the_name_of_an_input(tmp_path: Path) -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("flat", Flatten())
    graph.add("head", Linear(5))
    graph.add("outputs", Outputs(names=("scores", "image"), arity=2), "head", "flat")
    with pytest.raises(ExportError, match="called image, scores, image, and a file knows each"):
        export_onnx(stand_in(graph), tmp_path / "net.onnx")
    assert [*tmp_path.iterdir()] == []


def test_an_opaque_call_that_the_exporter_of_torch_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(calls: object) -> None:
        raise RuntimeError("no decomposition\nand more")

    monkeypatch.setattr(torch_calls, "_model", unknown)
    graph, shape = Graph(Input("signal", (9,))), (9,)
    for place, target in enumerate(("aten.logcumsumexp.default", "aten.cumsum.default")):
        call = Opaque(target=target, arguments=(Read(0), 1), seen=(shape,), shape=shape)
        graph.add(f"call{place}", call)
    with pytest.raises(
        ExportError, match=r"cannot write .*logcumsumexp.* in ONNX: no decomposition;"
    ):
        export_onnx(stand_in(graph), tmp_path / "net.onnx")
    assert [*tmp_path.iterdir()] == []
