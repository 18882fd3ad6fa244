"""One file that switches bit-widths: equal to each network alone, small, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nas.export import ExportError, export_onnx
from nas.export.runtime import file_outputs
from nas.export.switching import BITS, Switching, export_switching
from search_spaces.ops import Input
from search_spaces.policy import Policy, uniform
from search_spaces.quant import PerTensor
from search_spaces.residual import residual
from supernets.calibrate import initialise_steps
from supernets.deploy import Deployment
from supernets.deployed import Deployed, values
from supernets.quantizers import DoubleRounding, LearnedSteps, Quantizer
from supernets.supernet import Supernet

MODES = (8, 6, 4, 2)
IMAGES = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def networks(quantizer: type[Quantizer], *, size: int = 8, **policy: object) -> dict[int, Deployed]:
    options = {"weight_bits": MODES[::-1], "activation_bits": MODES[::-1], "fineness": "network"}
    space = residual(
        (Input("image", (3, 8, 8)),),
        (5,),
        widths=((size,), (size,), (2 * size,)),
        depths=((1,), (1, 2)),
        kernels=(3,),
        policy=Policy(**{**options, **policy}),
    )
    supernet = Supernet(space, seed=0, quantizer=quantizer)
    initialise_steps(supernet, [IMAGES])
    deployment = Deployment(supernet, [IMAGES, IMAGES.flip(3)])
    return {bits: deployment(uniform(space, bits, space.largest)) for bits in MODES}


@pytest.fixture(scope="module")
def every() -> dict[int, Deployed]:
    return networks(DoubleRounding)


@pytest.fixture(scope="module")
def switching(every: dict[int, Deployed]) -> Switching:
    return Switching.of(every)


@pytest.fixture(scope="module")
def path(switching: Switching, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("switching") / "net.onnx"
    export_switching(switching, path)
    return path


def outputs(path: Path, bits: int) -> np.ndarray:
    (out,) = file_outputs(path, [{"image": IMAGES, BITS: torch.tensor(bits)}])
    return out


@pytest.mark.parametrize("bits", MODES)
def test_a_mode_computes_what_its_network_computes(
    path: Path, switching: Switching, bits: int
) -> None:
    with torch.no_grad():
        wanted = switching.in_mode(bits).module()(IMAGES).numpy()
    made = outputs(path, bits)
    # Sums of another order may fall on the other side of a tie now and then.
    assert np.median(np.abs(made - wanted)) < 1e-5
    assert (made.argmax(1) == wanted.argmax(1)).mean() > 0.95


@pytest.mark.parametrize("bits", MODES)
def test_a_mode_is_hardly_other_than_the_network_alone(
    every: dict[int, Deployed], switching: Switching, bits: int
) -> None:
    alone, shared = every[bits], switching.in_mode(bits)
    for address in switching.weights:
        ours, theirs = shared.weight(address), alone.weight(address)
        assert np.array_equal(ours.codes, theirs.codes)
        assert np.allclose(ours.scale, theirs.scale, rtol=1e-4)
        biases = (values(own.parameters[address]["bias"]) for own in (shared, alone))
        assert np.allclose(*biases, atol=1e-3)
        assert bits < 8 or np.array_equal(ours.scale, theirs.scale)
    assert shared.inputs == alone.inputs


def test_the_modes_give_different_answers(path: Path) -> None:
    made = [outputs(path, bits) for bits in MODES]
    assert all(not np.allclose(made[0], other, atol=1e-3) for other in made[1:])


@pytest.mark.parametrize("bits", [5, 0, -8])
def test_another_number_of_bits_is_refused_by_the_runtime(path: Path, bits: int) -> None:
    with pytest.raises(ExportError, match="cannot run"):
        outputs(path, bits)


def test_every_weight_is_held_once_as_8_bit_integers(path: Path, switching: Switching) -> None:
    held = onnx.load(path).graph.initializer
    integers = [t for t in held if t.data_type == onnx.TensorProto.INT8]
    shapes = sorted(tuple(t.dims) for t in integers)
    assert shapes == sorted(weight.codes.shape for weight in switching.weights.values())
    others = [t for t in held if t.data_type != onnx.TensorProto.INT8]
    channels = sum(len(weight.codes) for weight in switching.weights.values())
    assert sum(np.prod(t.dims) for t in others) < 9 * channels + 20 * len(held)


def test_the_file_is_hardly_larger_than_that_of_8_bits(tmp_path: Path) -> None:
    modes = networks(DoubleRounding, size=48)
    report = export_onnx(modes[8], tmp_path / "alone.onnx")
    size = export_switching(Switching.of(modes), tmp_path / "switching.onnx")
    assert size == (tmp_path / "switching.onnx").stat().st_size
    assert size <= 1.05 * report.file_bytes


def test_a_file_of_the_same_network_has_the_same_bytes(
    switching: Switching, path: Path, tmp_path: Path
) -> None:
    export_switching(switching, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_learned_steps_of_every_precision_do_not_switch() -> None:
    with pytest.raises(ExportError, match=r"codes at .* are not the 8-bit codes, rounded; train"):
        Switching.of(networks(LearnedSteps))


def test_weights_per_tensor_do_not_switch_behind_a_norm() -> None:
    with pytest.raises(ExportError, match="weights per channel"):
        Switching.of(networks(DoubleRounding, weight_granularities=(PerTensor(),)))


def test_a_single_bit_width_has_nothing_to_switch(every: dict[int, Deployed]) -> None:
    with pytest.raises(ExportError, match=r"at least two bit-widths, given .8."):
        Switching.of({8: every[8]})


def test_another_architecture_does_not_switch(every: dict[int, Deployed]) -> None:
    with pytest.raises(ExportError, match="different architectures"):
        Switching.of({8: every[8], 4: networks(DoubleRounding, size=4)[4]})


def test_weights_in_full_precision_do_not_switch(every: dict[int, Deployed]) -> None:
    address = "stage0.block0.conv1"
    plain = every[4].changed(address, weight=values(every[4].parameters[address]["weight"]))
    with pytest.raises(ExportError, match=f"given full precision at '{address}'"):
        Switching.of({8: every[8], 4: plain})


def test_a_weight_that_is_the_same_float_in_all_modes_is_held_once(tmp_path: Path) -> None:
    modes = networks(DoubleRounding, edge_bits=None)
    switching = Switching.of(modes)
    assert "head" in modes[8].parameters.keys() - switching.weights.keys()
    export_switching(switching, tmp_path / "net.onnx")
    with torch.no_grad():
        wanted = switching.in_mode(4).module()(IMAGES).numpy()
    assert np.median(np.abs(outputs(tmp_path / "net.onnx", 4) - wanted)) < 1e-5


def test_an_input_that_is_quantized_in_one_mode_only_is_refused(
    every: dict[int, Deployed],
) -> None:
    slot = next(iter(every[4].inputs))
    left = {key: scale for key, scale in every[4].inputs.items() if key != slot}
    with pytest.raises(ExportError, match="quantized in one network only"):
        Switching.of({8: every[8], 4: replace(every[4], inputs=left)})


def test_a_network_with_an_input_called_bits_is_refused(tmp_path: Path) -> None:
    space = residual((Input(BITS, (3, 8, 8)),), (5,), widths=((4,), (4,)), depths=((1,),))
    supernet = Supernet(space, seed=0, quantizer=DoubleRounding)
    modes = {}
    for bits in (8, 4):
        genotype = uniform(space, bits, space.largest)
        modes[bits] = Deployment(supernet, [IMAGES])(genotype)
    with pytest.raises(ExportError, match="an input 'bits'"):
        export_switching(Switching.of(modes), tmp_path / "net.onnx")
