"""Additions against oscillating weights have their formulas, and keep the integers they say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.testing.callback import CallbackContract
from nas.testing.training import context_of, points_space, trained
from search_spaces.formats import E4M3, Int
from search_spaces.ops import Parameter
from search_spaces.quant import PerChannel, PerTensor, Quant
from supernets.quantizers import DoubleRounding, LearnedSteps, Quantizer, StatisticalScales
from supernets.quantizers.grid import Grid
from supernets.training.callbacks.annealing import Annealing, is_near
from supernets.training.callbacks.dampening import Dampening, distance
from supernets.training.callbacks.freezing import Followed, Freezing
from supernets.training.callbacks.oscillation import annealed, coarse_weights, is_coarse
from supernets.training.context import Moment
from supernets.training.methods import Methods
from tests.supernets.stripes import stripes_space

SHAPE = (6, 4, 3, 3)


class TestDampening(CallbackContract):
    kind = Dampening


class TestFreezing(CallbackContract):
    kind = Freezing


class TestAnnealing(CallbackContract):
    kind = Annealing


@pytest.fixture(scope="module")
def weight() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def made(kind: type[Quantizer], quant: Quant, weight: Tensor) -> Quantizer:
    quantizer = kind([quant], Parameter(SHAPE, ("out", "in", "window", "window")))
    quantizer.initialise(weight)
    return quantizer


def test_weights_of_few_bits_are_found_at_their_fewest() -> None:
    found = coarse_weights(context_of(stripes_space()).supernet)
    assert found
    assert {one.quant.bits for one in found} == {2}
    assert is_coarse(Quant(Int(3)))
    assert not is_coarse(Quant(Int(4)))
    assert not is_coarse(Quant(E4M3))


def test_the_annealing_is_half_a_cosine_after_a_quarter() -> None:
    assert annealed(0.2, 0.0, 0.1) is None
    assert annealed(0.25, 0.0, 0.1) == 0.0
    assert annealed(0.625, 0.0, 0.1) == pytest.approx(0.05)
    assert annealed(0.5, 0.1, 0.011) == pytest.approx(
        0.011 + 0.089 * (1 + math.cos(math.pi / 3)) / 2
    )


@pytest.mark.parametrize("kind", [LearnedSteps, StatisticalScales, DoubleRounding])
@pytest.mark.parametrize("quant", [Quant(Int(2), PerChannel()), Quant(Int(3), PerTensor())])
def test_the_distance_and_its_gradient_are_those_of_the_formula(
    kind: type[Quantizer], quant: Quant, weight: Tensor
) -> None:
    quantizer, w = made(kind, quant, weight), weight.clone().requires_grad_()
    found = distance(w, quantizer.grid(w.detach(), quant))
    found.backward()
    rounded = quantizer(weight, quant).detach().numpy()
    rows = (0, slice(None)) if isinstance(quant.granularity, PerChannel) else (slice(None),)
    x, per_channel = weight.numpy(), rows[0] == 0
    axes = (1, 2, 3) if per_channel else (0, 1, 2, 3)
    clipped = x.clip(rounded.min(axes, keepdims=True), rounded.max(axes, keepdims=True))
    assert found.item() == pytest.approx(((rounded - clipped) ** 2).sum(0).mean(), rel=1e-4)
    assert w.grad is not None
    expected = 2 * (x - rounded) * (x == clipped) / math.prod(SHAPE[1:])
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-3, atol=1e-6)


def test_the_penalty_is_for_subnets_of_few_bits_in_the_quantized_phase() -> None:
    context = context_of(points_space(), quantized_epochs=8)
    callback, high = Dampening(context), context.supernet.space.largest
    (one,) = coarse_weights(context.supernet)
    one.quantizer.initialise(one.weight.detach())

    def bits(genotype: tuple[int, ...]) -> int:
        node = context.supernet.space.decode(genotype).nodes.get(one.address)
        return node.op.weight.bits if node is not None and node.op.weight is not None else 0

    others = [(*high[:i], 0, *high[i + 1 :]) for i in range(len(high))]
    (low,) = (other for other in others if bits(other) == 2)
    late = Moment(25, context.plan)
    assert bits(high) == 8
    assert callback.penalty(late, 0, high) is None
    assert callback.penalty(Moment(3, context.plan), 0, low) is None, "in full precision"
    assert callback.penalty(Moment(8, context.plan), 0, low) is None, "too early"
    found, factor = callback.penalty(late, 0, low), annealed(late.phase_share, 0.0, 0.1)
    assert found is not None
    assert factor is not None
    assert found.item() == pytest.approx(factor * distance(one.weight, one.grid()).item())
    assert found.item() > 0


def reference(series: list[list[int]], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1 of Nagel et al., element by element: the integers and which are frozen."""
    numbers, frozen = np.array(series[0], dtype=float), np.zeros(len(series[0]), dtype=bool)
    for i in range(len(numbers)):
        mean, frequency, last = numbers[i], 0.0, 0
        for row in series[1:]:
            now = numbers[i] if frozen[i] else row[i]
            change = np.sign(now - numbers[i])
            frequency = 0.01 * (change * last == -1) + 0.99 * frequency
            last = change or last
            if frequency > threshold and not frozen[i]:
                frozen[i], now = True, np.round(mean)
            numbers[i] = now
            mean = 0.01 * now + 0.99 * mean
    return numbers, frozen


def test_oscillating_elements_are_frozen_as_in_the_algorithm() -> None:
    rng, steps = np.random.default_rng(0), 300
    always = [t % 2 for t in range(steps)]  # oscillates in every step
    rarely = [(t // 60) % 2 for t in range(steps)]
    rising = [min(t // 100, 2) for t in range(steps)]
    random = rng.integers(-1, 2, steps).tolist()
    mostly = [1 if t % 3 else 0 for t in range(steps)]
    series = [list(row) for row in zip(always, rarely, rising, random, mostly, strict=True)]
    followed = Followed.like(torch.zeros(5))
    followed.begin(torch.tensor(series[0], dtype=torch.float32))
    for row in series[1:]:
        followed.follow(torch.tensor(row, dtype=torch.float32), 0.1)
    numbers, frozen = reference(series, 0.1)
    assert followed.frozen.tolist() == frozen.tolist() == [True, False, False, True, True]
    assert followed.number.tolist() == numbers.tolist()


def test_no_element_is_frozen_without_a_threshold() -> None:
    followed = Followed.like(torch.zeros(1))
    for step in range(50):
        followed.follow(torch.tensor([float(step % 2)]), None)
    assert not followed.frozen.any()
    assert followed.frequency > 0.3


def test_a_frozen_element_may_move_within_its_integer() -> None:
    grid = Grid(*map(torch.tensor, (0.5, 0.0, -1.0, 1.0)))
    weight = torch.tensor([0.2, 0.3, 5.0, 0.3, -5.0, 0.9])
    followed = Followed.like(weight)
    followed.begin(torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0, -1.0]))
    followed.frozen.copy_(torch.tensor([True, True, True, False, True, True]))
    held = followed.held(weight, grid)
    torch.testing.assert_close(held, torch.tensor([0.2, 0.245, 5.0, 0.3, 0.255, -0.255]))
    assert grid.numbers(held).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, -1.0]


@pytest.mark.parametrize("kind", [LearnedSteps, DoubleRounding])
def test_frozen_integers_are_those_of_the_trained_weights(
    kind: type[Quantizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supernets.training.callbacks.freezing._FIRST", 1e-9)
    monkeypatch.setattr("supernets.training.callbacks.freezing._LAST", 1e-9)
    kept: list[Freezing] = []

    def make(context):
        kept.append(Freezing(context))
        return kept[0]

    methods = Methods(quantizer=kind, callbacks={"tested": make})
    supernet, _ = trained(
        tmp_path / "state", methods=methods, quantized_epochs=20, learning_rate=0.5
    )
    (one,), memory = coarse_weights(supernet), kept[0].tensors()
    frozen = memory[f"{one.address}.frozen"]
    assert frozen.any()
    assert not frozen.all()
    numbers = one.grid().numbers(one.weight.detach())
    assert torch.equal(numbers[frozen], memory[f"{one.address}.number"][frozen])


def test_elements_near_a_threshold_are_found() -> None:
    grid = Grid(*map(torch.tensor, (0.1, 0.0, -1.0, 1.0)))
    weight = 0.1 * torch.tensor([0.0, 0.49, 0.496, 0.504, 0.506, -0.496, 1.0, 1.5, -1.5, 9.0])
    near = is_near(weight, grid, within=0.005)
    assert near.tolist() == [False, False, True, True, False, True, False, False, False, False]


def test_only_elements_near_a_threshold_are_updated_in_the_end() -> None:
    context = context_of(points_space(), quantized_epochs=20)
    callback = Annealing(context)
    (one,) = coarse_weights(context.supernet)
    one.quantizer.initialise(one.weight.detach())
    with torch.no_grad():
        one.weight[0, 0] = one.grid().values(torch.tensor(0.5)).expand_as(one.weight)[0, 0]
    near = is_near(one.weight.detach(), one.grid(), within=0.005)
    assert near[0, 0]
    assert not near.all()
    for step, free in ((5, True), (50, True), (65, False)):
        before, moment = one.weight.detach().clone(), Moment(step, context.plan)
        one.weight.grad = torch.ones_like(one.weight)
        callback.before_update(moment)
        assert torch.equal(one.weight.grad == 0, ~near & ~torch.tensor(free))
        with torch.no_grad():
            one.weight.add_(1.0)  # as momentum does
        callback.after_update(moment)
        assert torch.equal(one.weight != before, near | free)
        with torch.no_grad():
            one.weight.copy_(before)
