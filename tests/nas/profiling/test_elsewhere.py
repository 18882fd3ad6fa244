"""A folder that goes to another machine: it needs nothing of ours there, and reads back whole."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from nas.profiling import OnnxRuntime, elsewhere, profile
from nas.profiling.elsewhere import read_folder, read_manifest, read_networks, write_folder
from nas.profiling.kernel_models import kernel_model
from nas.profiling.timing import Session
from nas.targets import TargetError
from nas.targets.numerics import numerics_of, of_bits
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.operator_reader import OperatorReader
from nas.targets.table.rows import KernelKey
from search_spaces.documents import UnreadableFile
from search_spaces.kernels import Kernel
from tests.nas.profiling.kernels import (
    DEPTHWISE,
    FAST,
    FLOAT,
    HEAD,
    INT8,
    LARGE,
    SMALL,
    SUM,
)

KERNELS = [(SMALL, INT8), (SMALL, FLOAT), (DEPTHWISE, INT8), (HEAD, FLOAT), (SUM, of_bits(None, 8))]
NETWORK = {"whole": kernel_model(LARGE, FLOAT)}


def run_script(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a folder's script as another machine would: from elsewhere, without our packages."""
    return subprocess.run(
        [sys.executable, folder / "measure.py", "--budget-ms", str(FAST), *options],
        cwd="/",
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    write_folder(KERNELS, folder=folder, networks=NETWORK)
    given = run_script(folder, "--device", "board")
    assert given.returncode == 0, given.stderr
    assert given.stderr.splitlines()[-2:] == ["6 of 6", f"results: {folder / 'results.csv'}"]
    return folder


@pytest.fixture
def folder(measured: Path, tmp_path: Path) -> Path:
    """A folder with results, to be spoilt; its models are not needed to read them."""
    (tmp_path / "f").mkdir()
    for name in ("manifest.json", "results.csv"):
        (tmp_path / "f" / name).write_bytes((measured / name).read_bytes())
    return tmp_path / "f"


def test_the_scripts_import_only_what_every_machine_can_have(measured: Path) -> None:
    for script in measured.glob("*.py"):
        tree = ast.parse(script.read_text(), feature_version=(3, 10))
        named = {n.names[0].name for n in ast.walk(tree) if isinstance(n, ast.Import)}
        named |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime", "ort", "timing"}
        assert {name.split(".")[0] for name in named} <= allowed


def test_its_table_is_that_of_measuring_here(measured: Path, tmp_path: Path) -> None:
    there = read_folder(measured, KERNELS, path=tmp_path / "there.csv")
    here = profile(KERNELS, path=tmp_path / "here.csv", backend=OnnxRuntime(), budget_ms=FAST)
    assert list(there.rows) == list(here.rows)
    assert there.notes["runtime"] == here.notes["runtime"]
    assert there.notes["device"] == "board"
    assert LatencyTable.read(tmp_path / "there.csv").rows == there.rows
    for key, row in there.rows.items():
        assert 0.1 < row.latency_ms / here.rows[key].latency_ms < 10
    assert read_networks(measured)["whole"].latency_ms > 0


def test_a_part_of_what_was_measured_can_be_read(measured: Path, tmp_path: Path) -> None:
    table = read_folder(measured, KERNELS[:2], path=tmp_path / "t.csv")
    assert list(table.rows) == [KernelKey.of(kernel, bits) for kernel, bits in KERNELS[:2]]
    whole = read_folder(measured, KERNELS, path=tmp_path / "t.csv")
    assert len(whole.rows) == len(KERNELS)
    assert LatencyTable.read(tmp_path / "t.csv").rows == whole.rows


def test_the_script_goes_on_after_a_torn_line(measured: Path) -> None:
    results = measured / "results.csv"
    before = results.read_text()
    results.write_text(before[: before.index("kernel-00002")] + "kernel-00002,0.0")
    with pytest.raises(TargetError, match="torn"):
        read_networks(measured)
    given = run_script(measured, "--device", "board")
    assert given.returncode == 0, given.stderr
    assert results.read_text().startswith(before[: before.index("kernel-00002")])
    assert read_networks(measured)["whole"].latency_ms > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "board", "--threads", "2"], "threads = '1', now it is '2'; delete"),
        (["--device", "phone"], "device = 'board', now it is 'phone'"),
        (["--providers", "WarpExecutionProvider"], "no WarpExecutionProvider here; it has"),
    ],
)
def test_the_script_mixes_no_conditions(measured: Path, options: list[str], said: str) -> None:
    before = (measured / "results.csv").read_bytes()
    given = run_script(measured, *options)
    assert given.returncode == 1
    assert said in given.stderr
    assert (measured / "results.csv").read_bytes() == before


def test_the_same_kernels_give_the_same_folder(measured: Path, tmp_path: Path) -> None:
    manifest = read_manifest(measured)
    assert write_folder(KERNELS, folder=tmp_path / "a", networks=NETWORK) == manifest
    other = write_folder(KERNELS[1:], folder=tmp_path / "b", networks=NETWORK)
    assert other.fingerprint != manifest.fingerprint


SPOILT: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "torn": (lambda lines: [*lines[:-2], lines[-2][:9]], "is torn; run measure.py"),
    "missing": (lambda lines: [*lines[:-2], ""], "lack 1 of 6 rows, first whole"),
    "repeated": (lambda lines: [*lines[:-1], lines[-2], ""], "repeats whole"),
    "negative": (lambda lines: [*lines[:-2], "whole,-1,0,9", ""], "not negative"),
    "not finite": (lambda lines: [*lines[:-2], "whole,nan,0,9", ""], "finite"),
    "no repetition": (lambda lines: [*lines[:-2], "whole,1,0,0", ""], "repetitions"),
    "unknown": (lambda lines: [*lines[:-1], "=cmd(),1,0,9", ""], "is not in the manifest"),
    "short": (lambda lines: [*lines[:-2], "whole,1", ""], "2 values for 4 columns"),
    "mixed": (lambda lines: [*lines[:-1], *lines], "a second heading; results of two runs"),
    "anonymous": (lambda lines: [x for x in lines if "# device" not in x], "no line '# device"),
    "headless": (lambda lines: [x for x in lines if "latency_ms" not in x], "no header"),
    "another": (lambda lines: ["# manifest: 0", *lines[1:]], "another folder's models"),
    "empty": (lambda lines: [""], "is torn"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_results_are_read_with_care(folder: Path, kind: str, tmp_path: Path) -> None:
    change, said = SPOILT[kind]
    results = folder / "results.csv"
    results.write_text("\n".join(change(results.read_text().split("\n"))))
    with pytest.raises(TargetError, match=said):
        read_folder(folder, KERNELS, path=tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_results_of_two_machines_are_not_mixed_in_one_table(folder: Path, tmp_path: Path) -> None:
    read_folder(folder, KERNELS[:2], path=tmp_path / "t.csv")
    results = folder / "results.csv"
    results.write_text(results.read_text().replace("# device: board", "# device: phone"))
    with pytest.raises(TargetError, match="device = 'board', now it is 'phone'"):
        read_folder(folder, KERNELS, path=tmp_path / "t.csv")


def test_a_folder_of_another_space_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="another space: it has no model for 1 of 1 kernels"):
        read_folder(folder, [(LARGE, INT8)], path=tmp_path / "t.csv")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"fingerprint": 1, "kernels": [{}]}'])
def test_a_manifest_that_is_none(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(UnreadableFile, match=r"manifest\.json.*; write the folder anew"):
        read_manifest(folder)


def test_a_manifest_that_was_changed(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["kernels"][0]["kernel"]["weight"] = "int7"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UnreadableFile, match="was changed"):
        read_manifest(folder)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest, and its fingerprint with it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["fingerprint"]
    change(manifest)
    whole = {"fingerprint": elsewhere._fingerprint(manifest), **manifest}
    (folder / "manifest.json").write_text(json.dumps(whole))


def test_a_folder_from_before_rows_had_fields_is_read(folder: Path) -> None:
    known = read_manifest(folder).keys

    def change(manifest: dict[str, Any]) -> None:
        manifest["format"] = 2
        for entry in manifest["kernels"]:
            op = OperatorReader().operator(entry["kernel"]["operator"], entry["kernel"]["fields"])
            window = {name: getattr(op, name, 1) for name in ("kernel", "stride")}
            numerics = numerics_of(entry["kernel"].pop("weight"), entry["kernel"].pop("activation"))
            del entry["kernel"]["fields"]
            entry["kernel"]["weight_bits"] = numerics.weight_bits
            entry["kernel"]["activation_bits"] = numerics.activation_bits
            entry["kernel"] |= {"out": getattr(op, "out", 16), **window}
            entry["kernel"]["fused"] = "relu" if entry["kernel"]["fused"] else ""

    rewrite(folder, change)
    assert read_manifest(folder).keys == known


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"fields": "out=16"}, "fields = 'out=16': Conv2d has no value for kernel"),
        ({"operator": "=1"}, "operator = '=1' must be an operator's name"),
        ({"batch": 0}, "batch = '0' must be a whole number"),
        ({"out": 3}, "a kernel has the columns operator, fields, inputs"),
    ],
)
def test_a_kernel_that_is_none_is_named(folder: Path, changed: dict[str, Any], reason: str) -> None:
    rewrite(folder, lambda manifest: manifest["kernels"][0]["kernel"].update(changed))
    with pytest.raises(UnreadableFile, match=reason):
        read_manifest(folder)


@pytest.mark.parametrize("kernel", [SMALL, DEPTHWISE, HEAD])
def test_weights_of_4_bits_go_along_and_run(kernel: Kernel, tmp_path: Path) -> None:
    write_folder([(kernel, of_bits(4, 8))], folder=tmp_path)
    model = tmp_path / "models" / "kernel-00000.onnx"
    kinds = {tensor.data_type for tensor in onnx.load(model).graph.initializer}
    assert onnx.TensorProto.INT4 in kinds
    assert Session(str(model), threads=1)() > 0


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"holds no manifest\.json; give a folder that"):
        read_manifest(tmp_path)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(TargetError, match="holds other files"):
        write_folder(KERNELS, folder=tmp_path)
    with pytest.raises(TargetError, match="no ONNX file holds Conv2d computing at int2xint8"):
        write_folder([(SMALL, of_bits(2, 8))], folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()
