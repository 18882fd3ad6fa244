"""Exported integers on processors that add up 8-bit products in 16 bits."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from nas.export import SaturationWarning, bytes_of, export_onnx, forms_for, verify
from nas.export.runtime import file_outputs, session_options
from nas.profiling import OnnxRuntime
from nas.profiling.elsewhere import read_manifest, write_folder
from nas.profiling.kernel_models import kernel_model
from nas.profiling.measured_target import write_target
from nas.targets import TargetError, load_target, saturation
from nas.targets.numerics import Numerics, of_bits
from nas.targets.saturation import (
    EightBitWeights,
    adds_pairs,
    caution,
    pair_fits,
    processor_saturates,
)
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.targets.target_files import DEVICES
from nas.tasks.criteria import Classification
from nas.testing.networks import (
    FAMILIES,
    IMAGES,
    random_networks,
    uniform,
    uniform_network,
)
from search_spaces.kernels import Kernel
from search_spaces.ops import Conv2d, DepthwiseConv2d, Linear
from supernets.deployed import Deployed
from tests.nas.runs import nas, settings, succeeded

INT16 = np.iinfo(np.int16)
LABELS = torch.zeros(len(IMAGES), dtype=torch.int64)
QEMU = shutil.which("qemu-x86_64")
POINTWISE = Kernel(Conv2d(8, 1), (), ((8, 4, 4),))
DEPTHWISE = Kernel(DepthwiseConv2d(3), (), ((8, 4, 4),))
HEAD = Kernel(Linear(10), (), ((8,),))


@pytest.fixture
def without_vnni(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine as an x86-64 one whose flags lack VNNI."""
    _machine(monkeypatch, tmp_path, "x86_64", "flags : fpu avx2 avx512f")


def _machine(patch: pytest.MonkeyPatch, folder: Path, kind: str, flags: str) -> None:
    (folder / "cpuinfo").write_text(f"processor : 0\n{flags}\n\nprocessor : 1\n{flags}\n")
    patch.setattr(saturation, "_CPU_INFO", folder / "cpuinfo")
    patch.setattr("platform.machine", lambda: kind)


def vpmaddubsw(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The instruction: products of unsigned and signed bytes, added up in pairs, cut to 16 bits."""
    products = activations.astype(np.int32) * weights.astype(np.int32)
    return np.clip(products[..., 0::2] + products[..., 1::2], INT16.min, INT16.max)


@pytest.mark.parametrize(("largest", "exact"), [(63, True), (64, True), (65, False), (127, False)])
def test_which_codes_fit_is_what_the_instruction_says(largest: int, exact: bool) -> None:
    activations = np.array([255, 255], np.uint8)
    weights = np.array([[largest, largest], [-largest, -largest]], np.int8)
    sums = vpmaddubsw(activations, weights)[:, 0]
    assert (sums.tolist() == [510 * largest, -510 * largest]) == exact == pair_fits(largest)


def optimized(path: Path) -> tuple[onnx.GraphProto, dict[str, np.ndarray]]:
    """What onnxruntime makes of a file by its own fusions, and the tensors by name."""
    options = session_options()
    options.optimized_model_filepath = str(path.with_suffix(".optimized"))
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    return graph, {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def signed_in_pairs(path: Path) -> Iterator[np.ndarray]:
    """The int8 weights of the kernels that onnxruntime adds up in pairs, after its own fusions."""
    graph, held = optimized(path)
    for node in graph.node:
        grouped = any(given.name == "group" and given.i > 1 for given in node.attribute)
        if node.op_type in ("QLinearConv", "QGemm") and not grouped:
            weight = held[node.input[3]]
            assert weight.dtype in (np.int8, np.uint8)
            if weight.dtype == np.int8:
                yield weight


@pytest.mark.parametrize("family", FAMILIES)
def test_no_pair_of_products_in_an_exported_file_can_be_cut_off(
    family: str, tmp_path: Path
) -> None:
    networks = [uniform_network(family, uniform(8)), *random_networks(family, 3)]
    for number, deployed in enumerate(networks):
        export_onnx(deployed, path := tmp_path / f"{number}.onnx")
        assert all(pair_fits(int(np.abs(weight).max())) for weight in signed_in_pairs(path))
    export_onnx(networks[0], path := tmp_path / "s.onnx", eight_bit_weights="signed")
    assert not all(pair_fits(int(np.abs(weight).max())) for weight in signed_in_pairs(path))


def test_seven_bits_leave_signed(tmp_path: Path) -> None:
    export_onnx(seven_bits(), path := tmp_path / "n.onnx")
    assert [*signed_in_pairs(path)]


def seven_bits() -> Deployed:
    return uniform_network("residual", uniform(7, edge_bits=7))


@pytest.mark.parametrize("family", FAMILIES)
def test_both_arrangements_hold_the_same_numbers(family: str, tmp_path: Path) -> None:
    """Without its optimizations onnxruntime computes in floats, which nothing cuts off."""
    logits = []
    for weights in saturation.ARRANGEMENTS:
        export_onnx(
            uniform_network(family, uniform(8)),
            path := tmp_path / f"{weights}.onnx",
            eight_bit_weights=weights,
        )
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        logits.append(session.run(None, {"image": IMAGES[:32].numpy()})[0])
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize(
    ("kind", "flags", "saturates"),
    [
        ("x86_64", "flags : fpu avx2", True),
        ("AMD64", "flags : fpu avx2 avx512f avx512bw", True),
        ("x86_64", "flags : fpu avx2 avx512_vnni", False),
        ("x86_64", "flags : fpu avx2 avx_vnni", False),
        ("x86_64", "model name : none", True),  # not known to have it
        ("aarch64", "Features : fp asimd", False),
    ],
)
def test_which_processors_cut_off_sums(
    kind: str, flags: str, saturates: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _machine(monkeypatch, tmp_path, kind, flags)
    assert processor_saturates() == saturates
    assert (caution("t", "signed") is not None) == (caution("t", "unsigned") is not None)
    assert (caution("t", "signed") is not None) == saturates


@pytest.mark.usefixtures("without_vnni")
def test_verify_warns_of_a_file_that_this_processor_runs_wrong(tmp_path: Path) -> None:
    deployed = uniform_network("mobilenet", uniform(8))
    export_onnx(deployed, path := tmp_path / "n.onnx", eight_bit_weights="signed")
    with pytest.warns(SaturationWarning, match=r"(?s)at stem, .*no VNNI.*'unsigned'") as told:
        verify(path, deployed, IMAGES, LABELS, criterion=Classification())
    assert "depthwise" not in str(told[0].message)
    export_onnx(deployed, path)
    verify(path, deployed, IMAGES, LABELS, criterion=Classification())  # warnings are errors here
    export_onnx(seven := seven_bits(), path, eight_bit_weights="signed")
    verify(path, seven, IMAGES, LABELS, criterion=Classification())


def test_verify_says_nothing_where_sums_are_exact(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _machine(monkeypatch, tmp_path, "x86_64", "flags : avx512_vnni")
    deployed = uniform_network("residual", uniform(8))
    export_onnx(deployed, path := tmp_path / "n.onnx", eight_bit_weights="signed")
    verify(path, deployed, IMAGES, LABELS, criterion=Classification())


@pytest.mark.usefixtures("without_vnni")
def test_profile_warns_on_such_a_processor(recipe: Path, tmp_path: Path) -> None:
    small = settings("space.policy.weight_bits=[8]", "space.policy.activation_bits=[8]")
    made = nas("profile", recipe, *small, "--budget-ms", "0", "--out", tmp_path / "mine.csv")
    succeeded(made)
    assert "warning: this processor has no VNNI" in " ".join(made.out.split())


def _weight_type(path: Path) -> str:
    """The type of the weight of the one integer kernel of a file, after onnxruntime's fusions."""
    graph, held = optimized(path)
    [weight] = [node.input[3] for node in graph.node if node.op_type in ("QLinearConv", "QGemm")]
    return held[weight].dtype.name


def test_weights_meet_their_inputs_as_in_files_where_kernels_are_timed(tmp_path: Path) -> None:
    def timed(kernel: Kernel, bits: Numerics, weights: EightBitWeights = "unsigned") -> str:
        (tmp_path / "k.onnx").write_bytes(kernel_model(kernel, bits, eight_bit_weights=weights))
        return _weight_type(tmp_path / "k.onnx")

    for kernel in (POINTWISE, HEAD):
        assert timed(kernel, of_bits(8, 8)) == "uint8"
        assert timed(kernel, of_bits(8, 8), "signed") == "int8"
        assert timed(kernel, of_bits(7, 8)) == "int8"
    assert timed(DEPTHWISE, of_bits(8, 8)) == "int8"


def test_one_channel_in_one_group_is_added_up_in_pairs_too() -> None:
    assert adds_pairs(2, groups=1)
    assert adds_pairs(2, groups=4)  # a grouped convolution
    assert adds_pairs(1, groups=1)  # its pairs lie in the window
    assert not adds_pairs(1, groups=4)


def test_tables_of_both_arrangements_are_not_mixed(tmp_path: Path) -> None:
    assert OnnxRuntime().conditions() != OnnxRuntime(1, "signed").conditions()
    for weights in saturation.ARRANGEMENTS:
        folder = tmp_path / weights
        write_folder([(POINTWISE, of_bits(8, 8))], folder=folder, eight_bit_weights=weights)
        assert read_manifest(folder).eight_bit_weights == weights
    models = [folder / "models" / "kernel-00000.onnx" for folder in tmp_path.iterdir()]
    assert models[0].read_bytes() != models[1].read_bytes()


def test_a_target_file_says_how_weights_leave(tmp_path: Path) -> None:
    shipped = (Path(saturation.__file__).parent / "devices/edge-npu.toml").read_text()
    (tmp_path / "mine.toml").write_text(f'eight_bit_weights = "signed"\n{shipped}')
    assert load_target("edge-npu").eight_bit_weights == "unsigned"
    mine = load_target(tmp_path / "mine.toml")
    assert mine.eight_bit_weights == "signed"
    [form] = forms_for(["onnx"], eight_bit_weights=mine.eight_bit_weights)
    deployed = uniform_network("residual", uniform(8))
    form.write(deployed, path := tmp_path / "n.onnx")
    assert [weight for weight in signed_in_pairs(path) if not pair_fits(int(np.abs(weight).max()))]
    assert form.foretold_bytes(deployed) == pytest.approx(bytes_of(path), rel=0.05)


RUN = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(None, {"image": numpy.load(sys.argv[2])})[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 of Debian's qemu-user")
@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_hold_on_an_emulated_haswell(family: str, tmp_path: Path) -> None:
    site = Path(onnxruntime.__file__).parents[1]
    np.save(tmp_path / "images.npy", IMAGES[:64].numpy())
    (tmp_path / "run.py").write_text(RUN)
    differences = {}
    for weights in saturation.ARRANGEMENTS:
        path = tmp_path / f"{weights}.onnx"
        network = uniform_network(family, uniform(8))
        export_onnx(network, path, eight_bit_weights=weights)
        subprocess.run(
            [
                *(str(QEMU), "-cpu", "Haswell", str(Path(sys.executable).resolve())),
                *map(str, (tmp_path / "run.py", path, tmp_path / "images.npy")),
                str(tmp_path / "there.npy"),
            ],
            check=True,
            capture_output=True,
            env={"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        )
        [here] = file_outputs(path, [{"image": IMAGES[:64]}])
        differences[weights] = np.abs(here - np.load(tmp_path / "there.npy")).max()
    assert differences["unsigned"] == 0
    if not processor_saturates():
        assert differences["signed"] > 0.01


@pytest.mark.parametrize(
    ("notes", "refused"),
    [
        ({"runtime": "onnxruntime 1.32.0, CPU"}, True),  # as tables were before
        ({"runtime": "onnxruntime 1.32.0, CPU", "weights": "signed"}, True),
        ({"runtime": "onnxruntime 1.32.0, CPU", "weights": "unsigned"}, False),
        ({"runtime": "torch 2.13.0"}, False),
    ],
)
def test_a_table_of_other_weights_is_not_used(
    notes: dict[str, str], refused: bool, tmp_path: Path
) -> None:
    row = {KernelKey.of(POINTWISE, of_bits(8, 8)): Row(1.0, 0.0, 9)}
    LatencyTable(row, notes).write(tmp_path / "t.csv")
    described = (DEVICES / "this-cpu.toml").read_text()
    (tmp_path / "t.toml").write_text(described.replace("by-processor", "unsigned"))
    if not refused:
        load_target(tmp_path / "t.toml", table=tmp_path / "t.csv")
        return
    with pytest.raises(TargetError, match=r"8-bit weights 'signed'.*delete the table"):
        load_target(tmp_path / "t.toml", table=tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("kind", "flags", "weights"),
    [
        ("x86_64", "flags : fpu avx2", "unsigned"),
        ("x86_64", "flags : fpu avx2 avx512_vnni", "signed"),
        ("aarch64", "Features : fp asimd", "unsigned"),  # nothing was measured there
    ],
)
def test_files_for_this_processor_have_the_fastest_weights_that_are_right(
    kind: str, flags: str, weights: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _machine(monkeypatch, tmp_path, kind, flags)
    here = load_target("this-cpu")
    assert here.eight_bit_weights == weights
    seven = of_bits(7, 8) in here.capability.supports["Conv2d"].numerics
    assert seven == (weights == "unsigned")  # else its kernel is that of 8 bits
    deployed, any_cpu = seven_bits(), load_target("this-cpu", elsewhere=True)
    runs = here.numerics(Kernel(deployed.graph.nodes["stem"].op, (), ((1, 8, 8),)))
    assert runs == of_bits(8 if weights == "signed" else 7, 8)
    assert any_cpu.eight_bit_weights == "unsigned"


@pytest.mark.parametrize("weights", saturation.ARRANGEMENTS)
def test_a_table_tells_the_weights_of_this_processor(
    weights: EightBitWeights, tmp_path: Path
) -> None:
    row = {KernelKey.of(POINTWISE, of_bits(8, 8)): Row(1.0, 0.0, 9)}
    notes = {"runtime": "onnxruntime", "device": "a board", "weights": weights}
    LatencyTable(row, notes).write(table := tmp_path / "t.csv")
    assert load_target("this-cpu", table=table).eight_bit_weights == weights
    write_target(tmp_path / "t.toml", base="this-cpu", refused={}, notes=notes, source="a test")
    assert load_target(tmp_path / "t.toml").eight_bit_weights == weights
