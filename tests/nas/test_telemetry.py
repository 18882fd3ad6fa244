"""What other makers' packages would tell of a user is off, unless the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from nas.ort import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""
RAY = """
import os, sys
sys.modules["ray"] = sys.modules["ray.exceptions"] = sys
from nas.evaluation.cluster import require_ray
require_ray()
print(os.environ["RAY_USAGE_STATS_ENABLED"])
"""
OPENVINO = """
try:
    import openvino_telemetry
except ImportError:
    print("none")
else:
    print("sent")
"""
OPENED = "from nas.export.forms.openvino_ir import _openvino; _openvino()"


def run(script: str, *arguments: str, home: Path, **wishes: str) -> str:
    """What a script prints in a new process, of a user without settings but `wishes`."""
    ours = ("ORT_", "RAY_", "XDG_", "CI")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    given = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**kept, "HOME": str(home), **wishes},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return given.stdout.strip()


@pytest.fixture
def model(tmp_path: Path) -> str:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    return str(tmp_path / "m.onnx")


def test_onnxruntime_keeps_no_cache(model: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    run(RUN, model, home=home)
    assert [*home.rglob("*")] == []


def test_a_user_may_turn_it_on(model: str, tmp_path: Path) -> None:
    told = "import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(RUN + told, model, home=tmp_path, ORT_DISABLE_TELEMETRY="0") == "0"
    assert run(RUN + told, model, home=tmp_path) == "1"


def test_ray_reports_no_use(tmp_path: Path) -> None:
    assert run(RAY, home=tmp_path) == "0"
    assert run(RAY, home=tmp_path, RAY_USAGE_STATS_ENABLED="1") == "1"


def test_openvino_is_imported_without_its_telemetry(tmp_path: Path) -> None:
    (tmp_path / "openvino.py").write_text(OPENVINO)
    (tmp_path / "openvino_telemetry.py").write_text("")
    places = os.pathsep.join([str(tmp_path), str(ROOT)])
    assert run(OPENED, home=tmp_path, PYTHONPATH=places) == "none"
    before = "import openvino_telemetry; "
    assert run(before + OPENED, home=tmp_path, PYTHONPATH=places) == "sent"
