"""The compiled passes of fake quantization against those of torch's operators."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from search_spaces.formats import E4M3, Int
from search_spaces.quant import PerChannel, PerTensor, Quant
from supernets import compiled
from supernets.compiled import library
from supernets.quantizers import fused
from supernets.quantizers.fake_quantize import fake_quantized
from supernets.quantizers.fused import FusedPasses, compiled_passes, fused_passes
from supernets.quantizers.passes import Levels, TorchPasses

SOURCE = Path(fused.__file__).with_suffix(".cpp")


@pytest.fixture(scope="module")
def passes() -> FusedPasses:
    found = compiled_passes()
    if found is None:
        pytest.skip("no C++ compiler here")
    return found


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def whole(bits: int) -> Levels:
    return Levels(Int(bits), torch.tensor([2.7 / 2**bits]), tuple(map(float, Int(bits).bounds)))


def by_row(x: Tensor, bits: int) -> Levels:
    """A step and a zero point for each row."""
    step = torch.linspace(2.0, 4.0, len(x)).reshape(-1, 1) / 2**bits
    zero = torch.arange(len(x)).remainder(2**bits).reshape(-1, 1)
    low, high = Int(bits, symmetric=False).bounds
    return Levels(Int(bits, symmetric=False), step, ((low - zero).float(), (high - zero).float()))


def ties(levels: Levels, x: Tensor) -> Tensor:
    """`x` with values on all ties and at both ends of the levels."""
    x.view(-1)[:80] = torch.arange(-40, 40) / 2 * levels.step.reshape(-1)[0]
    return x


def assert_equal_passes(passes: FusedPasses, x: Tensor, grad: Tensor, levels: Levels) -> None:
    theirs, ours = TorchPasses().forward(x, levels), passes.forward(x, levels)
    assert torch.equal(ours, theirs)
    assert torch.equal(ours.signbit(), theirs.signbit())
    expected, sums = TorchPasses().backward(grad, x, levels)
    found, by_log = passes.backward(grad, x, levels)
    assert torch.equal(found, expected)
    terms = grad.double() * theirs.double() - expected.double() * x.double()
    exact = terms.reshape(levels.step.numel(), -1).sum(1).reshape(levels.step.shape)
    assert by_log.shape == sums.shape == levels.step.shape
    size = (grad * theirs).abs().sum().item()
    torch.testing.assert_close(by_log.double(), exact, rtol=1e-6, atol=1e-7 * size)
    torch.testing.assert_close(sums.double(), exact, rtol=0, atol=1e-6 * size)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("count", [1, 15, 4096, 100_003])
def test_a_tensor_with_one_step(passes: FusedPasses, bits: int, count: int) -> None:
    levels = whole(bits)
    x = drawn(count) if count < 80 else ties(levels, drawn(count))
    assert_equal_passes(passes, x, drawn(count, seed=1), levels)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("length", [1, 27, 5000])
def test_rows_with_steps_and_bounds_of_their_own(
    passes: FusedPasses, bits: int, length: int
) -> None:
    x = drawn(12, length)
    assert_equal_passes(passes, x, drawn(12, length, seed=1), by_row(x, bits))
    symmetric = replace(whole(bits), step=by_row(x, bits).step)
    assert_equal_passes(passes, x, drawn(12, length, seed=1), symmetric)


def test_any_order_of_axes_gaps_and_repeated_gradients(passes: FusedPasses) -> None:
    images, levels = drawn(4, 6, 8, 10), whole(3)
    last = images.to(memory_format=torch.channels_last)
    views = [last, images.permute(3, 1, 0, 2), images[:, 1:4], images[:, :, ::2], last[:, :3]]
    views += [images[:1].expand(4, -1, -1, -1), images.transpose(2, 3)[..., 1:]]
    for x in views:
        grads = (drawn(*x.shape, seed=1), torch.tensor(0.3).expand(x.shape))
        for grad in (*grads, grads[0].to(memory_format=torch.channels_last)):
            assert_equal_passes(passes, x, grad, levels)
    assert passes.forward(last, levels).stride() == last.stride()
    rows = drawn(40, 12).T
    assert_equal_passes(passes, rows, drawn(12, 40, seed=1), by_row(rows, 4))


def test_numbers_that_are_not_finite_pass_as_in_torch(passes: FusedPasses) -> None:
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0, 0.01, -0.01])
    ours, theirs = (p.forward(x, whole(4)) for p in (passes, TorchPasses()))
    assert torch.equal(ours.nan_to_num(9.0), theirs.nan_to_num(9.0))
    assert torch.equal(ours.signbit()[1:], theirs.signbit()[1:])


def test_sums_do_not_depend_on_the_number_of_threads(passes: FusedPasses) -> None:
    x, grad, before = drawn(300_000), drawn(300_000, seed=1), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(passes.backward(grad, x, whole(4))[1].item())
    finally:
        torch.set_num_threads(before)
    assert len(set(found)) == 1


def test_only_gradients_of_integers_on_a_cpu_are_compiled(passes: FusedPasses) -> None:
    x = drawn(8)
    assert fused_passes(x, Int(4)) is passes
    assert fused_passes(x, E4M3) is None
    assert fused_passes(x.double(), Int(4)) is None
    assert fused_passes(x.to("meta"), Int(4)) is None
    with torch.no_grad():
        assert fused_passes(x, Int(4)) is None


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel()], ids=lambda g: g.name)
def test_fake_quantization_is_the_same_without_a_compiler(
    passes: FusedPasses, granularity, monkeypatch: pytest.MonkeyPatch
) -> None:
    quant, x = Quant(Int(4), granularity), drawn(6, 30)
    rows = 1 if granularity.single else 6
    found = []
    for known in (passes, None):
        monkeypatch.setattr(fused, "compiled_passes", lambda known=known: known)
        leaf, log_step = x.clone().requires_grad_(), torch.full((rows, 1), -1.3).requires_grad_()
        output = fake_quantized(leaf, log_step, (-7.0, 7.0), quant)
        output.square().sum().backward()
        found.append((output.detach(), leaf.grad, log_step.grad))
    (ours, ours_x, ours_log), (theirs, theirs_x, theirs_log) = found
    assert torch.equal(ours, theirs)
    assert torch.equal(ours_x, theirs_x)
    torch.testing.assert_close(ours_log, theirs_log)


def test_nothing_is_kept_but_the_input_and_the_step() -> None:
    x, kept = drawn(6, 30).requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        fake_quantized(x, torch.tensor([-1.0]).requires_grad_(), (-7.0, 7.0), Quant(Int(4)))
    addresses = [tensor.data_ptr() for tensor in kept if tensor.numel() > 1]
    assert addresses == [x.data_ptr()]


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_a_compiler_that_fails_is_told_once(
    compiler: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", compiler)
    library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert library(SOURCE) is None
            assert library(SOURCE) is None
    finally:
        library.cache_clear()
    (record,) = caplog.records
    assert "fused.cpp was not compiled" in record.message
    assert compiler in record.message
    assert "CXX" in record.message


def test_a_cache_that_cannot_be_written_is_told(
    passes: FusedPasses,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    library.cache_clear()
    try:
        assert library(SOURCE) is None
    finally:
        library.cache_clear()
    assert str(tmp_path / "file") in caplog.text


def test_processes_that_compile_at_once_and_remains_of_killed_ones(
    passes: FusedPasses, tmp_path: Path
) -> None:
    """Two processes start on an empty cache, in which a killed build has left its folder."""
    folder = tmp_path / "elastic-nas"
    (folder / "tmpkilled").mkdir(parents=True)
    (folder / "tmpkilled" / "half.so").write_bytes(b"\x7fELF")
    script = (
        "import pathlib, sys; from supernets.compiled import library; "
        "print(library(pathlib.Path(sys.argv[1])) is not None)"
    )
    command = [sys.executable, "-c", script, str(SOURCE)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].decode() for process in started]
    assert [*map(str.strip, said)] == ["True", "True"]
    assert len([*folder.glob("*.so")]) == 1


def test_a_changed_source_is_compiled_anew(
    passes: FusedPasses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "number.cpp"
    for number in (1, 2):
        source.write_text(f'extern "C" int number() {{ return {number}; }}')
        library.cache_clear()
        made = compiled.library(source)
        assert made is not None
        assert made.number() == number
    library.cache_clear()


def test_the_source_is_part_of_the_package() -> None:
    assert SOURCE.exists()
    assert "*.cpp" in (Path(__file__).parents[2] / "pyproject.toml").read_text()
