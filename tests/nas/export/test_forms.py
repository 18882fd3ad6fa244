import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.export import FORMS, Exporter, ExportError, form_of, forms_for, verify
from nas.export.stand_in import stand_in
from nas.parts import PartError
from nas.tasks.criteria import Classification
from nas.testing.exporter import SHOWN, Case, ExporterContract, exported
from nas.testing.networks import uniform, uniform_network
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Flatten, Input, Linear
from search_spaces.quant import Quant

TOLERANCE = 1e-4


class TestOnnx(ExporterContract):
    tolerance = TOLERANCE
    alone = """
import onnxruntime
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
(found,) = session.run(["output"], {"image": inputs})
"""

    @pytest.fixture
    def exporter(self) -> Exporter:
        return FORMS["onnx"]


class TestTorch(ExporterContract):
    alone = """
import torch
sys.path.insert(0, path)
from model import load
torch.set_num_threads(1)
with torch.no_grad():
    found = load()(torch.from_numpy(inputs)).numpy()
"""

    @pytest.fixture
    def exporter(self) -> Exporter:
        return FORMS["torch"]


class TestTorchExport(ExporterContract):
    alone = """
import torch
torch.set_num_threads(1)
with torch.no_grad():
    found = torch.export.load(path).module()(torch.from_numpy(inputs)).numpy()
"""

    @pytest.fixture
    def exporter(self) -> Exporter:
        return FORMS["torch-export"]


class TestOpenVino(ExporterContract):
    tolerance = TOLERANCE
    size_error = 0.06
    alone = """
import openvino
model = openvino.Core().read_model(path + "/model.xml")
options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
found = openvino.Core().compile_model(model, "CPU", options)(inputs)[0]
"""

    @pytest.fixture
    def exporter(self) -> Exporter:
        pytest.importorskip("openvino")
        return FORMS["openvino"]

    @pytest.mark.parametrize("symmetric", [False, True])
    def test_additions_read_rounded_numbers(
        self, exporter: Exporter, symmetric: bool, tmp_path: Path
    ) -> None:
        deployed = uniform_network("residual", uniform(8, activation_symmetric=symmetric))
        with torch.no_grad():
            ours = deployed.module()(SHOWN).numpy()
        exporter.write(deployed, tmp_path / "net.openvino")
        found = exporter.open(tmp_path / "net.openvino", deployed.graph).run({"image": SHOWN})
        assert np.median(np.abs(found - ours).max(1)) <= TOLERANCE * ours.std()

    @pytest.mark.parametrize("bias", [0.0, 0.5])
    @pytest.mark.parametrize("symmetric", [False, True])
    def test_floats_stay_floats_where_only_the_weight_is_quantized(
        self, exporter: Exporter, symmetric: bool, bias: float, tmp_path: Path
    ) -> None:
        graph = Graph(Input("image", (1, 8, 8)))
        graph.add("flat", Flatten())
        graph.add("head", Linear(10, weight=Quant(Int(8, symmetric))))
        deployed = stand_in(graph).changed("head", bias=np.full(10, bias, np.float32))
        path = tmp_path / "net.openvino"
        exporter.write(deployed, path)
        labels = torch.zeros(len(SHOWN), dtype=torch.int64)
        found = verify(path, deployed, SHOWN, labels, criterion=Classification())
        assert found.largest_difference <= TOLERANCE


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # its own
class TestExecuTorch(ExporterContract):
    """On one family only: lowering a MobileNet takes many seconds."""

    tolerance = TOLERANCE
    alone_family = "residual"
    alone = """
import torch
from executorch.runtime import Runtime
method = Runtime.get().load_program(path).load_method("forward")
batches = torch.from_numpy(inputs).split(8)
found = np.concatenate([method.execute([batch])[0].numpy() for batch in batches])
"""

    @pytest.fixture
    def exporter(self) -> Exporter:
        pytest.importorskip("executorch")
        return FORMS["executorch"]

    @pytest.fixture
    def case(self, exporter: Exporter) -> Case:
        return exported(exporter.name, "residual")

    @pytest.mark.slow
    def test_a_mobilenet_passes_its_check(self, exporter: Exporter) -> None:
        case = exported(exporter.name, "mobilenet")
        answers = torch.from_numpy(case.ours().argmax(1))
        assert (
            verify(case.path, case.deployed, SHOWN, answers, criterion=Classification()).agreement
            == 100.0
        )


@pytest.mark.parametrize("form", ["openvino", "executorch"])
def test_an_absent_package_is_told_with_its_extra(form, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ExportError, match=rf"pip install 'elastic-nas\[{form}\]'"):
        forms_for(["onnx", form])


def test_recipes_name_the_forms():
    assert all(form.name == name for name, form in FORMS.items())
    assert forms_for(["torch", "onnx"]) == (FORMS["torch"], FORMS["onnx"])
    with pytest.raises(PartError, match="no export-form 'tflite'; there are onnx, torch"):
        forms_for(["onnx", "tflite"])


def test_suffixes_tell_forms():
    for form in FORMS.values():
        assert form_of(f"a/net{form.suffix}") is form
    with pytest.raises(ExportError, match=r"net\.h5 ends in no suffix"):
        form_of("net.h5")
