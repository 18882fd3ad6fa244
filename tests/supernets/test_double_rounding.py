"""Double Rounding against the contract, the formula in numpy, and finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.testing.quantizer import SHAPE, SteppedQuantizerContract
from search_spaces.formats import E4M3, Format, Int
from search_spaces.ops import Parameter
from search_spaces.quant import Granularity, PerChannel, PerGroup, PerTensor, Quant
from supernets.quantizers import DoubleRounding, LearnedSteps
from tests.supernets.test_quantizers import name, weight

HIGHEST = 8
QUANTS = [
    Quant(Int(bits), granularity)
    for bits, granularity in itertools.product((2, 3, 4, 6, 8), (PerTensor(), PerChannel()))
]


class TestDoubleRounding(SteppedQuantizerContract):
    kind = DoubleRounding

    @pytest.fixture(params=[*QUANTS, Quant(Int(4), PerGroup(2))], ids=name)
    def quant(self, request: pytest.FixtureRequest) -> Quant:
        return request.param

    @pytest.fixture
    def quantizer(self, quant: Quant, values: Tensor) -> DoubleRounding:
        shape = Parameter(SHAPE, ("out", "in", "window", "window"))
        quantizer = DoubleRounding({quant, Quant(Int(HIGHEST), quant.granularity)}, shape)
        quantizer.initialise(values)
        return quantizer

    def slack(self, quant: Quant) -> float:
        """A value that the first rounding moves to a tie ends up to its step beyond the nearest."""
        return 2.0 ** (quant.bits - HIGHEST) if quant.bits < HIGHEST else 0.0


CHANNELS = PerChannel()


def made(
    x: Tensor, *bits: int, granularity: Granularity = CHANNELS
) -> tuple[DoubleRounding, list[Quant]]:
    quants = [Quant(Int(b), granularity) for b in bits]
    quantizer = DoubleRounding(quants, weight(x))
    quantizer.initialise(x)
    return quantizer, quants


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel()])
def test_values_are_those_of_the_formula(granularity: Granularity) -> None:
    x = torch.randn(4, 500, generator=torch.Generator().manual_seed(1))
    quantizer, quants = made(x, 8, 6, 4, 3, 2, granularity=granularity)
    (step,) = (p.detach().exp().reshape(-1, 1).numpy() for p in quantizer.parameters())
    high = np.clip(np.rint(x.numpy() / step), -127, 127)
    for quant in quants:
        most, shift = 2 ** (quant.bits - 1) - 1, 2 ** (8 - quant.bits)
        low = np.clip(np.rint(high / shift), -most, most)
        held = quantizer.encode(x, quant, tuple(x.shape))
        assert np.array_equal(held.codes, low)
        assert np.array_equal(quantizer(x, quant).detach().numpy(), low * (step * shift))
        assert np.array_equal(held.scale, (step * shift).reshape(held.scale.shape))


@pytest.mark.parametrize("bits", [(8, 6), (8, 4), (8, 2), (4, 3), (3, 2)])
@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel()])
def test_gradients_are_those_of_finite_differences(
    bits: tuple[int, int], granularity: Granularity
) -> None:
    x = torch.randn(3, 60, generator=torch.Generator().manual_seed(7)).double().requires_grad_()
    pull = torch.randn(3, 60, generator=torch.Generator().manual_seed(8)).double()
    quantizer, (highest, quant) = made(x, *bits, granularity=granularity)
    quantizer.double()
    (log_step,) = quantizer.parameters()
    shift = 2 ** (bits[0] - bits[1])
    scaled = (x / log_step.reshape(-1, 1).exp()).detach()
    high = scaled.round().clamp(*highest.format.bounds)
    low = (high / shift).round().clamp(*quant.format.bounds)
    both = (scaled.round() == high) & ((high / shift).round() == low)
    edge = quant.format.bounds[1] + 0.5
    both &= (high / shift).abs() != edge  # a tie at the bound rounds to an even code beyond it
    first, second = high - scaled, low - high / shift

    def passed_through(x: Tensor, at: Tensor) -> Tensor:
        """What training descends: the errors of both roundings are constant, in their steps."""
        step = at.reshape(-1, 1).exp()
        kept = (x / step + first) / shift + second
        return (pull * torch.where(both, kept, low) * step * shift).sum()

    assert torch.autograd.gradcheck(passed_through, (x, log_step))
    wanted = torch.autograd.grad(passed_through(x, log_step), (x, log_step))
    given = torch.autograd.grad((pull * quantizer(x, quant)).sum(), (x, log_step))
    torch.testing.assert_close(given, wanted)
    assert 0 < both.float().mean() < 1


def test_all_precisions_train_one_step_and_inputs_have_their_own() -> None:
    x = torch.randn(3, 50, generator=torch.Generator().manual_seed(2))
    quantizer, quants = made(x, 8, 4, 2)
    (log_step,) = quantizer.parameters()
    gradients = [torch.autograd.grad(quantizer(x, q).square().sum(), log_step)[0] for q in quants]
    assert all(g.all() for g in gradients)
    inputs = DoubleRounding([Quant(Int(b, symmetric=False)) for b in (8, 4)])
    assert len(list(inputs.parameters())) == 2
    assert inputs.state_dict().keys() == LearnedSteps(inputs.quants).state_dict().keys()


def test_most_codes_are_those_of_direct_rounding() -> None:
    """The two differ only where the first rounding ends on a tie (2**-shift / 2 of the values)."""
    x = torch.randn(1, 200_000, generator=torch.Generator().manual_seed(3))
    quantizer, quants = made(x, 8, 6, 4, 2)
    for quant, share in zip(quants[1:], (0.125, 0.031, 0.007), strict=True):
        direct = (x / quantizer.steps(quant)).round().clamp(*quant.format.bounds)
        codes = torch.from_numpy(quantizer.encode(x, quant, tuple(x.shape)).codes)
        assert (codes != direct).float().mean().item() == pytest.approx(share, rel=0.15)


@pytest.mark.parametrize("other", [Int(4, symmetric=False), E4M3], ids=lambda f: f.name)
def test_other_weights_are_refused(other: Format) -> None:
    with pytest.raises(ValueError, match=rf"given weights of {other.name}; give weights Int"):
        DoubleRounding([Quant(Int(8)), Quant(other)], Parameter(SHAPE, ("out", "in")))
    DoubleRounding([Quant(Int(8)), Quant(other)])
