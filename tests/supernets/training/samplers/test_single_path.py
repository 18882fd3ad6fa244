"""The gradient of a search that is joined to training, and the subnet that it favours."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from nas.testing.sampler import SETTINGS, context_of, elastic_space
from nas.testing.searcher import chain
from supernets.supernet import Supernet
from supernets.training.context import Moment
from supernets.training.samplers.single_path import SinglePath

LAST = 11  # a step of the quantized phase


@pytest.fixture(scope="module")
def context():
    """A depth, and a width and a kernel in each of two layers; the second may be closed."""
    made = context_of(elastic_space())
    return replace(made, supernet=Supernet(chain(depth=2, widths=(4, 8)), seed=0))


def losses_of(rows):
    weights = 1 + np.sin(np.arange(rows.shape[1])) ** 2
    return np.exp(-0.2 * rows @ weights)


def test_the_expected_gradient_is_that_of_the_expected_aim(context):
    sampler = SinglePath(context)
    space, rng = sampler.space, np.random.default_rng(0)
    sampler._state[0] = rng.standard_normal(sampler._state[0].shape)
    every = np.array([*itertools.product(*map(range, space.counts))])
    rows = space.canonical_array(every)
    aims, place = losses_of(rows), np.arange(len(space.counts))
    probability = sampler.probabilities()[place, every].prod(axis=1)
    assert probability.sum() == pytest.approx(1)

    logits = torch.from_numpy(sampler._state[0].copy()).requires_grad_()
    masked = logits.masked_fill(~torch.from_numpy(sampler._there), -torch.inf)
    chosen = masked.log_softmax(1)[place, torch.from_numpy(every)].sum(1).exp()
    (chosen * torch.from_numpy(aims)).sum().backward()

    found = np.zeros_like(sampler._state[0])
    for i, j in itertools.product(range(len(every)), repeat=2):
        pair = [i, j]
        found += probability[i] * probability[j] * sampler.gradient(rows[pair], aims[pair])
    assert logits.grad is not None
    np.testing.assert_allclose(found, logits.grad.numpy(), atol=1e-12)
    assert abs(found).max() > 0.01


def test_the_steps_are_those_of_adam(context):
    sampler, gradients = SinglePath(context), np.random.default_rng(0)
    logits = torch.zeros(sampler._state[0].shape, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.02)
    for _ in range(3):
        gradient = gradients.standard_normal(logits.shape)
        sampler._follow(gradient)
        logits.grad = torch.from_numpy(gradient)
        adam.step()
    np.testing.assert_allclose(sampler._state[0], logits.detach().numpy(), atol=1e-9)


def searched(context, *, steps=1500):
    """A sampler after steps whose losses are known, and the aim of every network."""
    sampler, moment = SinglePath(context), Moment(LAST, context.plan)
    for step in range(steps):
        subnets = sampler.draw(moment, context.batch(0), np.random.default_rng(step))
        told = np.array([subnets.largest, *subnets.students])
        sampler.tell(moment, subnets, losses_of(told).tolist())
    rows = sampler.space.every_row()
    cost = (context.device_cost or context.cost)(rows)
    return sampler, rows, losses_of(rows) + 0.1 * np.log(cost)


def test_it_finds_the_subnet_of_the_least_loss_and_cost(context):
    sampler, rows, aims = searched(context)
    best = tuple(rows[aims.argmin()].tolist())
    assert sampler.favoured() == best
    assert best not in (sampler.space.largest, sampler.space.smallest)


def test_the_cost_on_a_device_decides_where_there_is_one(context):
    slow = replace(context, device_cost=lambda rows: 1.0 + 1e9 * (rows[:, 0] == 1))
    sampler, rows, aims = searched(slow)
    found = sampler.favoured()
    assert found == tuple(rows[aims.argmin()].tolist())
    assert found != searched(context)[0].favoured()


def test_before_the_quantized_phase_nothing_is_learnt_and_nothing_favoured(context):
    sampler = SinglePath(context)
    for step in range(4):
        moment = Moment(step, context.plan)
        subnets = sampler.draw(moment, context.batch(0), np.random.default_rng(step))
        sampler.tell(moment, subnets, [1.0 + place for place in range(1 + len(subnets.students))])
    assert sampler.favoured() is None
    assert not sampler.tensors()["state"].any()


def test_costs_that_a_device_does_not_have_teach_nothing(context):
    nowhere = replace(context, device_cost=lambda rows: np.full(len(rows), np.inf))
    assert searched(nowhere, steps=3)[0].favoured() is None


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_random_subnets_are_refused(context, count):
    few = replace(context, settings=replace(SETTINGS, random_subnets=count))
    with pytest.raises(ValueError, match=f"random_subnets = {count}; give at least 2"):
        SinglePath(few)
