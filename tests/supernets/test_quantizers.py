"""Fake quantization against the contract and against torch's own operators."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from nas.testing.quantizer import QuantizerContract
from search_spaces.formats import Int
from search_spaces.quant import PerChannel, PerTensor, Quant
from supernets.quantizers import Quantizer, squared_error_steps, zero_points

QUANTS = [
    Quant(Int(bits, symmetric), granularity)
    for bits, granularity, symmetric in itertools.product(
        (2, 3, 4, 6, 8), (PerTensor(), PerChannel()), (True, False)
    )
]


def name(quant: Quant) -> str:
    kind = "symmetric" if quant.symmetric else "asymmetric"
    return f"{quant.bits}-{type(quant.granularity).__name__}-{kind}"


@pytest.fixture(params=QUANTS, ids=name)
def quant(request: pytest.FixtureRequest) -> Quant:
    return request.param


class TestLearnedSteps(QuantizerContract):
    @pytest.fixture(params=QUANTS, ids=name)
    def quant(self, request: pytest.FixtureRequest) -> Quant:
        return request.param


def _made(quant: Quant, x: Tensor, *, step: float) -> Quantizer:
    """A quantizer with zero points from `x` and about this step, off the grid of `x`."""
    quantizer = Quantizer([quant], len(x))
    quantizer.initialise(x)
    count = len(x) if isinstance(quant.granularity, PerChannel) else 1
    (log_step,) = quantizer.parameters()
    log_step.data = torch.linspace(step, 2 * step, count).log()
    return quantizer


def test_forward_equals_torchs_own_but_for_ties(quant: Quant) -> None:
    x = torch.randn(5, 2000, generator=torch.Generator().manual_seed(1))
    quantizer = _made(quant, x, step=0.0571)
    grid, zero = quantizer.grid(x, quant), quantizer.zero_point(quant)
    step = grid.step.reshape(-1)
    if isinstance(quant.granularity, PerChannel):
        theirs = torch.fake_quantize_per_channel_affine(x, step, zero, 0, *quant.code_range)
    else:
        theirs = torch.fake_quantize_per_tensor_affine(x, step, zero, *quant.code_range)
    # Theirs multiplies by the reciprocal, which now and then falls on the other side of a tie.
    assert (quantizer(x, quant) != theirs).float().mean() < 1e-3


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gradients_equal_torchs_learnable_operator(bits: int, symmetric: bool) -> None:
    quant = Quant(Int(bits, symmetric), PerTensor())
    x = torch.randn(3, 500, generator=torch.Generator().manual_seed(2)) + 0.3
    g = torch.randn(3, 500, generator=torch.Generator().manual_seed(3))
    quantizer = _made(quant, x, step=0.9 / 2**bits)
    (log_step,) = quantizer.parameters()
    ours = x.clone().requires_grad_()
    quantizer(ours, quant).backward(g)

    step = log_step.detach().exp().requires_grad_()
    zero = quantizer.zero_point(quant).float().requires_grad_()
    theirs = x.clone().requires_grad_()
    factor = 1.0 / math.sqrt(x.numel() * quant.code_range[1])
    output = torch._fake_quantize_learnable_per_tensor_affine(
        theirs, step, zero, *quant.code_range, factor
    )
    output.backward(g)
    assert torch.equal(ours.grad, theirs.grad)
    # Ours is handed to the logarithm, divided by the step so that descent moves the step alike.
    torch.testing.assert_close(log_step.grad * step.detach(), step.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_per_channel_gradients_equal_those_channel_by_channel(symmetric: bool) -> None:
    quant = Quant(Int(3, symmetric), PerChannel())
    x = torch.randn(4, 30, generator=torch.Generator().manual_seed(4))
    whole = _made(quant, x, step=0.2)
    whole(x, quant).square().sum().backward()
    (log_steps,) = whole.parameters()
    for channel in range(len(x)):
        one = Quantizer([Quant(Int(3, symmetric), PerTensor())])
        (log_step,) = one.parameters()
        log_step.data = log_steps.data[channel : channel + 1]
        alone = Quant(Int(3, symmetric), PerTensor())
        one.zero_point(alone).copy_(whole.zero_point(quant)[channel])
        one(x[channel : channel + 1], alone).square().sum().backward()
        torch.testing.assert_close(log_step.grad[0], log_steps.grad[channel])


def test_finite_differences_agree_where_the_codes_do_not_change() -> None:
    quant = Quant(Int(4))
    x = torch.tensor([[0.31, -0.52, 5.0, -7.0]])
    quantizer = _made(quant, x, step=0.2)
    (log_step,) = quantizer.parameters()
    quantizer(x, quant).sum().backward()
    # Clamped elements move with the bounds; of those inside the straight-through part is taken off.
    step, scale = 0.2, math.sqrt(x.numel() * 7)
    inside = sum(round(v / step) - v / step for v in (0.31, -0.52))
    expected = (7 - 7 + inside) / step / scale
    assert log_step.grad.item() == pytest.approx(expected, rel=1e-4)


def test_more_bits_never_fit_worse() -> None:
    x = torch.randn(8, 200, generator=torch.Generator().manual_seed(5))
    for granularity, symmetric in itertools.product((PerTensor(), PerChannel()), (True, False)):
        quants = [Quant(Int(bits, symmetric), granularity) for bits in range(2, 9)]
        quantizer = Quantizer(quants, 8)
        quantizer.initialise(x)
        errors = [(quantizer(x, q) - x).square().sum().item() for q in quants]
        assert errors == sorted(errors, reverse=True)


def test_steps_of_a_gaussian_are_those_of_the_literature() -> None:
    """The best uniform quantizers of a normal variable (Max 1960, table 2, for 7 and 15 levels)."""
    x = torch.special.ndtri((torch.arange(50_000) + 0.5) / 50_000).unsqueeze(0)
    for bits, expected in ((3, 0.6508), (4, 0.3534)):
        step = squared_error_steps(x, Quant(Int(bits)), torch.zeros(1, dtype=torch.int32))
        assert step.item() == pytest.approx(expected, rel=0.02)


def test_values_without_sign_leave_the_zero_point_at_the_end() -> None:
    rows = torch.tensor([[0.0, 1.0], [-3.0, 0.0], [-1.0, 1.0], [0.0, 0.0]])
    zero = zero_points(rows, Quant(Int(4, symmetric=False), PerChannel()))
    assert zero.tolist() == [0, 15, 8, 0]


def test_a_tensor_of_zeros_gets_a_finite_step() -> None:
    quants = [Quant(Int(4)), Quant(Int(4, symmetric=False), PerTensor())]
    quantizer = Quantizer(quants)
    quantizer.initialise(torch.zeros(1, 10))
    for quant in quants:
        assert quantizer.scalar(quant)[0] == pytest.approx(1 / quant.code_range[1])


def test_zero_points_follow_a_loaded_state() -> None:
    quant = Quant(Int(4, symmetric=False), PerTensor())
    source, target = Quantizer([quant]), Quantizer([quant])
    x = torch.linspace(-1, 3, 50).unsqueeze(0)
    source.initialise(x)
    assert not torch.equal(target(x, quant), source(x, quant))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(x, quant), source(x, quant))
