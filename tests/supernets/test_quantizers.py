"""Fake quantization against the contract and against torch's own operators."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.testing.quantizer import SteppedQuantizerContract
from search_spaces.formats import (
    BFLOAT16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    FLOAT16,
    FORMATS,
    Format,
    Int,
)
from search_spaces.ops import Parameter
from search_spaces.quant import (
    Float16,
    Float32,
    PerChannel,
    PerGroup,
    PerTensor,
    PowerOfTwo,
    Quant,
)
from supernets.encoded import EncodedTensor
from supernets.quantizers import LearnedSteps, Quantizer
from supernets.rounding import snapped, snapped_scales, squared_error_steps, zero_points

QUANTS = [
    Quant(Int(bits, symmetric), granularity)
    for bits, granularity, symmetric in itertools.product(
        (2, 3, 4, 6, 8), (PerTensor(), PerChannel()), (True, False)
    )
]
GROUPED = [
    *(Quant(f, PerChannel()) for f in (E4M3, E5M2, E3M2, E2M3, E2M1)),
    *(Quant(f, PerGroup(2)) for f in (Int(4), Int(4, symmetric=False), E4M3, E2M1)),
    *(Quant(Int(4), PerGroup(2, scale)) for scale in (Float16(), PowerOfTwo())),
    *(Quant(E2M1, PerGroup(2, PowerOfTwo())), Quant(E4M3)),
]


def name(quant: Quant) -> str:
    return f"{quant.name}-{quant.granularity.name}"


@pytest.fixture(params=QUANTS, ids=name)
def quant(request: pytest.FixtureRequest) -> Quant:
    return request.param


class TestLearnedSteps(SteppedQuantizerContract):
    kind = LearnedSteps

    @pytest.fixture(params=[*QUANTS, *GROUPED], ids=name)
    def quant(self, request: pytest.FixtureRequest) -> Quant:
        return request.param


@pytest.mark.parametrize(
    ("number_format", "kind"), [(FLOAT16, torch.float16), (BFLOAT16, torch.bfloat16)]
)
def test_floats_of_16_bits_are_rounded_as_they_are_and_have_nothing_to_learn(
    number_format: Format, kind: torch.dtype
) -> None:
    x = torch.randn(6, 36, generator=torch.Generator().manual_seed(0)) * 1e-3
    held = Quant(number_format)
    for quantizer in (LearnedSteps([held], weight(x)), LearnedSteps([held])):
        quantizer.initialise(x)
        given = x.clone().requires_grad_()
        found = quantizer(given, held)
        assert torch.equal(found, x.to(kind).float())
        found.sum().backward()
        assert given.grad is not None
        assert (given.grad == 1).all()
        assert not [*quantizer.parameters()]
        assert not quantizer.state_dict()
        assert quantizer.scalar(held) == (1.0, 0)
        encoded = quantizer.encode(x[:2], held, (2, 36))
        assert np.array_equal(encoded.values(), found[:2].detach().numpy())
    far = torch.tensor([1e39, -1e39], requires_grad=True)
    LearnedSteps([held])(far, held).sum().backward()
    assert far.grad is not None
    assert not far.grad.any()


def weight(x: Tensor) -> Parameter:
    """The weight that `x` would be."""
    return Parameter(tuple(x.shape), ("out", "in"))


def encoded(quantizer: LearnedSteps, x: Tensor, quant: Quant) -> EncodedTensor:
    return quantizer.encode(x, quant, tuple(x.shape))


def _made(quant: Quant, x: Tensor, *, step: float) -> LearnedSteps:
    """A quantizer with zero points from `x` and about this step, off the grid of `x`."""
    quantizer = LearnedSteps([quant], weight(x))
    quantizer.initialise(x)
    count = len(x) if isinstance(quant.granularity, PerChannel) else 1
    (log_step,) = quantizer.parameters()
    log_step.data = torch.linspace(step, 2 * step, count).log().reshape(log_step.shape)
    return quantizer


def test_forward_equals_torchs_own_but_for_ties(quant: Quant) -> None:
    x = torch.randn(5, 2000, generator=torch.Generator().manual_seed(1))
    quantizer = _made(quant, x, step=0.0571)
    held = encoded(quantizer, x, quant)
    step, zero = torch.from_numpy(held.scale), torch.from_numpy(held.zero_point)
    if isinstance(quant.granularity, PerChannel):
        theirs = torch.fake_quantize_per_channel_affine(x, step, zero, 0, *quant.integers.range)
    else:
        theirs = torch.fake_quantize_per_tensor_affine(x, step, zero, *quant.integers.range)
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
    output = torch._fake_quantize_learnable_per_tensor_affine(
        theirs, step, zero, *quant.integers.range, 1.0
    )
    output.backward(g)
    assert torch.equal(ours.grad, theirs.grad)
    # Ours is the derivative by the logarithm.
    torch.testing.assert_close(log_step.grad, step.grad * step.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_per_channel_gradients_equal_those_channel_by_channel(symmetric: bool) -> None:
    quant = Quant(Int(3, symmetric), PerChannel())
    x = torch.randn(4, 30, generator=torch.Generator().manual_seed(4))
    whole = _made(quant, x, step=0.2)
    whole(x, quant).square().sum().backward()
    (log_steps,) = whole.parameters()
    for channel in range(len(x)):
        one = LearnedSteps([Quant(Int(3, symmetric), PerTensor())])
        (log_step,) = one.parameters()
        log_step.data = log_steps.data[channel]
        alone = Quant(Int(3, symmetric), PerTensor())
        one.zero_point(alone).copy_(whole.zero_point(quant)[channel])
        one(x[channel : channel + 1], alone).square().sum().backward()
        torch.testing.assert_close(log_step.grad[0], log_steps.grad[channel, 0])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gradients_are_those_of_finite_differences(bits: int, symmetric: bool) -> None:
    quant = Quant(Int(bits, symmetric), PerChannel())
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(7)).double()
    pull = torch.randn(3, 40, generator=torch.Generator().manual_seed(8)).double()
    quantizer = LearnedSteps([quant], weight(x)).double()
    quantizer.initialise(x)
    (log_step,) = quantizer.parameters()
    held = encoded(quantizer, x, quant)
    zero = torch.from_numpy(held.zero_point).double().reshape(-1, 1)
    low, high = (bound - zero for bound in quant.format.bounds)
    scaled = x / log_step.detach().reshape(-1, 1).exp()
    codes = torch.from_numpy(held.numbers()).double() - zero
    inside = (scaled > low - 0.5) & (scaled < high + 0.5)
    error = codes - scaled

    def passed_through(at: Tensor) -> Tensor:
        """What training descends: rounding errors, in steps, are taken as constant."""
        step = at.reshape(-1, 1).exp()
        return (pull * torch.where(inside, x + step * error, step * codes)).sum()

    assert torch.autograd.gradcheck(passed_through, (log_step,))
    (gradient,) = torch.autograd.grad(passed_through(log_step), log_step)
    (pull * quantizer(x, quant)).sum().backward()
    torch.testing.assert_close(log_step.grad, gradient)


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1.0, 1e3])
def test_the_gradient_of_a_step_is_bounded_by_that_of_the_elements(factor: float) -> None:
    """However small a step is, a change of its logarithm moves an element by at most its bound."""
    x = torch.randn(1, 500, generator=torch.Generator().manual_seed(9))
    pull = torch.randn(1, 500, generator=torch.Generator().manual_seed(10))
    for bits in (2, 4, 8):
        quantizer = LearnedSteps([Quant(Int(bits))])
        quantizer.initialise(x)
        (log_step,) = quantizer.parameters()
        log_step.data += math.log(factor)
        output = quantizer(x, Quant(Int(bits)))
        output.backward(pull)
        most = (pull.abs() * torch.maximum((output - x).abs(), output.abs())).sum()
        assert log_step.grad.abs() <= most


def test_a_step_behind_a_norm_neither_collapses_nor_explodes() -> None:
    """A norm undoes the scale of a channel, so the loss hardly sees the step of its weight."""
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randn(256, 27, generator=generator)
    targets = torch.randn(256, 8, generator=generator)
    quant = Quant(Int(8), PerChannel())
    matrix = torch.nn.Parameter(torch.randn(8, 27, generator=generator) / 5)
    quantizer = LearnedSteps([quant], weight(matrix))
    quantizer.initialise(matrix)
    (log_step,) = quantizer.parameters()
    first = log_step.detach().clone()
    optimizer = torch.optim.SGD([matrix, log_step], lr=0.2, momentum=0.9, nesterov=True)
    for _ in range(200):
        optimizer.zero_grad()
        made = inputs @ quantizer(matrix, quant).T
        normed = torch.nn.functional.batch_norm(made, None, None, training=True)
        (normed - targets).square().mean().backward()
        optimizer.step()
    assert (log_step.detach() - first).abs().max() < math.log(4)
    assert (log_step.detach() != first).all()


def test_more_bits_never_fit_worse() -> None:
    x = torch.randn(8, 200, generator=torch.Generator().manual_seed(5))
    for granularity, symmetric in itertools.product((PerTensor(), PerChannel()), (True, False)):
        quants = [Quant(Int(bits, symmetric), granularity) for bits in range(2, 9)]
        quantizer = LearnedSteps(quants, weight(x))
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
    zero = zero_points(rows, Int(4, symmetric=False))
    assert zero.tolist() == [0, 15, 8, 0]


def test_a_tensor_of_zeros_gets_a_finite_step() -> None:
    quants = [Quant(Int(4)), Quant(Int(4, symmetric=False), PerTensor())]
    quantizer = LearnedSteps(quants)
    quantizer.initialise(torch.zeros(1, 10))
    for quant in quants:
        assert quantizer.scalar(quant)[0] == pytest.approx(1 / quant.format.positives)


def test_zero_points_follow_a_loaded_state() -> None:
    quant = Quant(Int(4, symmetric=False), PerTensor())
    source, target = LearnedSteps([quant]), LearnedSteps([quant])
    x = torch.linspace(-1, 3, 50).unsqueeze(0)
    source.initialise(x)
    assert not torch.equal(target(x, quant), source(x, quant))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(x, quant), source(x, quant))


@pytest.mark.parametrize(
    "quant",
    [*QUANTS, Quant(E2M1, PerChannel()), Quant(E2M1, PerGroup(2)), Quant(Int(4), PerGroup(2))],
    ids=name,
)
def test_the_first_step_cannot_be_bettered_by_a_multiple(quant: Quant) -> None:
    values = torch.randn(6, 36, generator=torch.Generator().manual_seed(3))
    values *= torch.linspace(0.1, 2.0, 6).unsqueeze(1)
    quantizer = LearnedSteps([quant], weight(values))
    quantizer.initialise(values)

    def error() -> float:
        return (quantizer(values, quant) - values).square().sum().item()

    least = error()
    (log_step,) = quantizer.parameters()
    first = log_step.detach().clone()
    for factor in torch.linspace(0.3, 3.0, 28):
        log_step.data = first + factor.log()
        assert error() >= 0.98 * least


@pytest.mark.parametrize("number_format", FORMATS.values(), ids=lambda f: f.name)
def test_torch_rounds_as_numpy_does(number_format: Format) -> None:
    sizes = 10.0 ** torch.arange(-8, 6).float()
    x = torch.randn(14, 2000, generator=torch.Generator().manual_seed(1)) * sizes[:, None]
    x = torch.cat([x.flatten(), torch.arange(-40, 40) / 4, torch.tensor([math.inf, -math.inf])])
    ours = snapped(number_format, x, number_format.bounds)
    assert torch.equal(ours, torch.from_numpy(number_format.snap(x.numpy())))
    for scale in (Float16(), PowerOfTwo(), Float32()):
        positive = x[x.abs() > 0].abs()
        theirs = torch.from_numpy(scale.snap(positive.numpy()))
        assert torch.equal(snapped_scales(scale, positive), theirs)


def test_float8_weights_are_those_of_torchs_own_cast() -> None:
    x = torch.randn(5, 300, generator=torch.Generator().manual_seed(1))
    for quant, kind in ((Quant(E4M3), torch.float8_e4m3fn), (Quant(E5M2), torch.float8_e5m2)):
        quantizer = LearnedSteps([quant], weight(x))
        quantizer.initialise(x)
        step, _ = quantizer.scalar(quant)
        theirs = (x / step).clamp(*quant.format.bounds).to(kind)
        assert torch.equal(quantizer(x, quant), theirs.float() * step)
        codes = torch.from_numpy(encoded(quantizer, x, quant).stored)
        assert torch.equal(codes, theirs.view(torch.uint8))


def test_a_group_is_quantized_as_if_it_were_a_tensor() -> None:
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(4))
    for number_format in (Int(4), Int(3, symmetric=False), E2M1):
        quant, alone = Quant(number_format, PerGroup(4)), Quant(number_format)
        whole = LearnedSteps([quant], weight(x))
        whole.initialise(x)
        for row, group in itertools.product(range(3), range(2)):
            part = x[row : row + 1, 4 * group : 4 * group + 4]
            one = LearnedSteps([alone])
            one.initialise(part)
            there = whole(x, quant)[row : row + 1, 4 * group : 4 * group + 4]
            assert torch.equal(there, one(part, alone))


def test_groups_that_cut_through_heads_are_refused() -> None:
    shared = Parameter((8, 2, 6), ("out", "in", "in"))
    for size in (2, 3, 6, 12):
        LearnedSteps([Quant(Int(4), PerGroup(size))], shared)
    with pytest.raises(ValueError, match=r"per-group-4 takes 4 neighbours .* \[2, 6\].* divides 6"):
        LearnedSteps([Quant(Int(4), PerGroup(4))], shared)


def test_a_quantizer_must_say_how_it_quantizes() -> None:
    class Silent(Quantizer):
        name = "silent"

    for call in (
        lambda q: q(torch.zeros(1), Quant(Int(4))),
        lambda q: q.encode(torch.zeros(1), Quant(Int(4)), (1,)),
        lambda q: q.scalar(Quant(Int(4))),
        lambda q: q.initialise(torch.zeros(1)),
    ):
        with pytest.raises(NotImplementedError, match="Silent must define"):
            call(Silent([Quant(Int(4))]))
