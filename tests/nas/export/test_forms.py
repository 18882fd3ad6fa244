import importlib.util
from typing import get_args

import pytest

from nas.export import FORMS, Exporter, ExportError, form_of, forms_for
from nas.recipe import FormatName
from tests.contracts.exporter import ExporterContract

TOLERANCE = 1e-4


class TestOnnx(ExporterContract):
    tolerance = TOLERANCE
    alone = """
import onnxruntime
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
(found,) = session.run(["logits"], {"image": images})
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
    found = load()(torch.from_numpy(images)).numpy()
"""

    @pytest.fixture
    def exporter(self) -> Exporter:
        return FORMS["torch"]


class TestTorchExport(ExporterContract):
    alone = """
import torch
torch.set_num_threads(1)
with torch.no_grad():
    found = torch.export.load(path).module()(torch.from_numpy(images)).numpy()
"""

    @pytest.fixture
    def exporter(self) -> Exporter:
        return FORMS["torch-export"]


class TestOpenVino(ExporterContract):
    """It rounds between integer layers by a rule of its own, so logits move by a code or so."""

    tolerance = 0.5
    agreement = 90.0
    size_error = 0.06
    alone = """
import openvino
model = openvino.Core().read_model(path + "/model.xml")
options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
found = openvino.Core().compile_model(model, "CPU", options)(images)[0]
"""

    @pytest.fixture
    def exporter(self) -> Exporter:
        pytest.importorskip("openvino")
        return FORMS["openvino"]


def test_an_absent_package_is_told_with_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ExportError, match=r"pip install 'elastic-nas\[openvino\]'"):
        forms_for(["onnx", "openvino"])


def test_recipes_name_the_forms():
    assert get_args(FormatName) == tuple(FORMS)
    assert forms_for(["torch", "onnx"]) == (FORMS["torch"], FORMS["onnx"])
    with pytest.raises(ExportError, match="no export format 'tflite'; known are onnx"):
        forms_for(["onnx", "tflite"])


def test_suffixes_tell_forms():
    for form in FORMS.values():
        assert form_of(f"a/net{form.suffix}") is form
    with pytest.raises(ExportError, match=r"net\.h5 ends in no suffix"):
        form_of("net.h5")
