"""Adaptive learning rate scaling against its formula and the contract."""

import dataclasses

import pytest
import torch

from nas.testing.callback import CallbackContract
from nas.testing.training import context_of, points_space
from supernets.calibrate import initialise_steps
from supernets.quantizers import DoubleRounding
from supernets.supernet import Supernet
from supernets.training.callbacks.alrs import AdaptiveRates, shrinkage
from supernets.training.context import Moment
from supernets.training.methods import Methods


class TestAdaptiveRates(CallbackContract):
    kind = AdaptiveRates

    @pytest.fixture
    def methods(self):
        return Methods(quantizer=DoubleRounding, callbacks={"tested": self.kind})


def test_factors_are_those_of_the_paper():
    given = [shrinkage(fewer) for fewer in range(7)]
    assert given == pytest.approx([1, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001])


@pytest.mark.parametrize("rate", [0.5, 1e-5], ids=["within", "clamped"])
def test_gradients_of_steps_are_scaled_subnet_by_subnet(rate):
    space = points_space()
    context = context_of(space)
    supernet = Supernet(space, seed=0, quantizer=DoubleRounding)
    initialise_steps(supernet, [context.batch(0)[0]])
    plan = dataclasses.replace(context.plan, highest=rate, warmup=0, rate=lambda *_: 1.0)
    context = dataclasses.replace(context, supernet=supernet, plan=plan)
    moment, (inputs, targets) = Moment(plan.float_steps, plan), context.batch(0)
    subnets = [space.largest, space.smallest]
    weights = [
        (address, supernet.node(address).weight)
        for address in space.decode(space.largest).nodes
        if supernet.node(address).weight is not None
    ]
    wanted = {address: torch.zeros(()) for address, _ in weights}
    for genotype in subnets:
        supernet.zero_grad()
        context.criterion.loss(supernet(inputs, genotype), targets).backward()
        graph = space.decode(genotype)
        here = {
            address: next(quantizer.parameters()).grad
            for address, quantizer in weights
            if address in graph.nodes
        }
        mean = sum(min(g.abs().max().item(), 1) for g in here.values()) / len(here)
        for address, gradient in here.items():
            bits = graph.nodes[address].op.weight.bits
            most = max(q.bits for q in supernet.node(address).weight.quants)
            scale = shrinkage(most - bits) * max(rate - mean, 0) / rate
            wanted[address] = wanted[address] + scale * gradient
    supernet.zero_grad()
    callback = AdaptiveRates(context)
    callback.before_step(moment)
    for place, genotype in enumerate(subnets):
        context.criterion.loss(supernet(inputs, genotype), targets).backward()
        callback.after_pass(moment, place, genotype)
    for address, quantizer in weights:
        torch.testing.assert_close(next(quantizer.parameters()).grad, wanted[address])
    assert any(gradient.any() for gradient in wanted.values()) == (rate > 0.1)


def test_only_steps_of_weights_are_scaled():
    space = points_space()
    context = context_of(space)
    initialise_steps(context.supernet, [context.batch(0)[0]])
    inputs, targets = context.batch(0)
    context.criterion.loss(context.supernet(inputs, space.largest), targets).backward()
    groups = context.supernet.parameter_groups()
    before = {
        kind: [None if p.grad is None else p.grad.clone() for p in group]
        for kind, group in groups.items()
    }
    callback, moment = AdaptiveRates(context), Moment(context.plan.float_steps, context.plan)
    callback.before_step(moment)
    callback.after_pass(moment, 0, space.largest)
    for kind, group in groups.items():
        changed = [
            not torch.equal(p.grad, known)
            for p, known in zip(group, before[kind], strict=True)
            if known is not None
        ]
        assert any(changed) == (kind == "weight_steps")
