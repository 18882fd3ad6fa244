"""Traces of the Hessian, and bits that sensitive layers draw by their number."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from nas.testing.sampler import context_of, elastic_space
from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, Flatten, GlobalPool, Input, Linear
from search_spaces.policy import Policy
from search_spaces.quant import Quant, precision
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from supernets.training.context import Moment
from supernets.training.samplers import hasb
from supernets.training.samplers.hasb import HessianAware
from supernets.training.samplers.hessian import TwiceDifferentiable, random_signs, trace_estimates
from supernets.training.samplers.precisions import bit_choices, drawn, layer_choices


def small_network():
    """A function from two weights to a loss, and the weights, six numbers in all."""
    rng = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((2, 2), (1, 2))]
    x = torch.randn((5, 2), generator=rng, dtype=torch.float64)
    return lambda a, b: ((torch.tanh(x @ a.T) @ b.T) ** 2).mean(), weights


def test_the_mean_over_all_signs_is_the_exact_trace_of_every_block():
    loss, weights = small_network()
    blocks: Any = torch.autograd.functional.hessian(loss, tuple(weights))
    exact = [float(blocks[i][i].reshape(w.numel(), -1).trace()) for i, w in enumerate(weights)]
    estimates = []
    for signs in itertools.product((-1.0, 1.0), repeat=6):
        flat = torch.tensor(signs, dtype=torch.float64)
        held = [weight.clone().requires_grad_() for weight in weights]
        shaped = [flat[:4].reshape(2, 2), flat[4:].reshape(1, 2)]
        estimates.append(trace_estimates(loss(*held), held, shaped))
    assert torch.stack(estimates).mean(0).tolist() == pytest.approx(exact, rel=1e-9)
    assert torch.stack(estimates).std(0).min() > 0


def test_weights_without_influence_or_curvature_have_the_trace_zero():
    held = [torch.ones(3, requires_grad=True) for _ in range(3)]
    signs = random_signs(held, np.random.default_rng(0))
    assert trace_estimates((held[0] ** 2).sum() + held[1].sum(), held, signs).tolist() == [6, 0, 0]
    assert trace_estimates(held[1].sum(), held, signs).tolist() == [0, 0, 0]


def test_gates_are_differentiated_twice():
    x = torch.tensor([-4.0, -1.0, 0.5, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
    plain = torch.nn.Hardsigmoid()(x)
    with TwiceDifferentiable():
        value = torch.nn.Hardsigmoid()(x)
    torch.testing.assert_close(value, plain)
    estimate = trace_estimates((value**2).sum(), [x], [torch.ones(5, dtype=torch.float64)])
    assert float(estimate) == pytest.approx(3 * 2 / 36), "2 * slope ** 2 at the three inside"


def test_operators_that_torch_does_not_differentiate_twice_are_refused():
    x = torch.ones(5, requires_grad=True)
    loss = (torch.nn.functional.hardsigmoid(x) ** 2).sum()
    with pytest.raises(ValueError, match=r"second derivatives.*take another sampler"):
        trace_estimates(loss, [x], [torch.ones(5)])


def test_random_signs_are_signs():
    (signs,) = random_signs([torch.zeros(40, 50)], np.random.default_rng(0))
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.1


def test_the_traces_of_the_supernet_are_those_of_its_largest_subnet(monkeypatch):
    monkeypatch.setattr(hasb, "_SAMPLES", 8)  # a batch
    context = context_of(elastic_space())
    sampler, address = HessianAware(context), "stage0.block0.skip"
    place = list(layer_choices(sampler.space)).index(address)
    drawn_with = (Moment(4, context.plan), context.batch(4))
    many = []
    for seed in range(40):
        sampler = HessianAware(context)
        sampler.draw(*drawn_with, np.random.default_rng(seed))
        many.append(float(sampler.tensors()["traces"][place]))
    name = f"nodes.{address.replace('.', '/')}.tensors.weight"
    weight = context.supernet.get_parameter(name).detach()

    def loss(value):
        inputs, targets = context.batch(0)
        given, how = (inputs, sampler.space.largest), {"quantize": False}
        out = torch.func.functional_call(context.supernet, {name: value}, given, how)
        return context.criterion.loss(out, targets)

    hessian: Any = torch.autograd.functional.hessian(loss, weight)
    exact = float(hessian.reshape(weight.numel(), -1).trace())
    error = 3 * np.std(many) / np.sqrt(len(many))
    assert np.mean(many) == pytest.approx(exact, abs=error)
    assert error < abs(exact) / 2, "the test could fail"


@pytest.fixture
def sampler():
    return HessianAware(context_of(elastic_space()))


def picks(sampler, step, *, count=4000):
    """Genotypes of random subnets at a step, `(count, choices)`."""
    rng = np.random.default_rng(0)
    return sampler._weighted(Moment(step, sampler.context.plan), rng, count)


def test_a_choice_has_the_mean_trace_of_its_layers(sampler):
    """The layers are two convolutions and a skip in the first block, two in the second."""
    column = sampler.space.column
    first, second = (
        {column[f"stage0.block{block}.{kind}.bits"] for kind in ("weight", "activation")}
        for block in (0, 1)
    )
    for traces, sensitive in (
        ((9, 0, 0, 4, 4), second),
        ((9, 2, 2, 4, 4), first),
        ((4, 4, 4, 4, 4), first | second),
        ((-9, -9, -9, -1, -1), second),
    ):
        sampler.restore({"traces": torch.tensor(traces, dtype=torch.float64)})
        assert set(sampler.sensitive()) == sensitive


def test_sensitive_layers_draw_bits_by_their_number_more_often_in_every_epoch(sampler):
    sampler.restore({"traces": torch.tensor((9.0, 9, 9, 1, 1), dtype=torch.float64)})
    space, plan = sampler.space, sampler.context.plan
    bits = space.column["stage0.block0.weight.bits"]
    depth, other = space.column["stage0.depth"], space.column["stage0.block1.weight.bits"]
    for step, share in ((4, 0.25), (7, 0.25), (8, 0.5), (11, 0.5)):
        rows = picks(sampler, step)
        assert (plan.float_steps, plan.epoch, plan.total) == (4, 4, 12)
        weighted = np.array([2, 4, 8]) / 14
        expected = share * weighted + (1 - share) / 3
        found = np.bincount(rows[:, bits], minlength=3) / len(rows)
        assert found == pytest.approx(expected, abs=0.03)
        assert rows[:, depth].mean() == pytest.approx(0.5, abs=0.03)
        deep = rows[rows[:, depth] == 1]
        uniform = np.bincount(deep[:, other], minlength=3) / len(deep)
        assert uniform == pytest.approx([1 / 3] * 3, abs=0.04)


def test_the_traces_are_estimated_once_at_the_first_quantized_step(sampler):
    context = sampler.context
    for step in (3, 4, 5):
        before = sampler.tensors()["traces"].clone()
        sampler.draw(Moment(step, context.plan), context.batch(step), np.random.default_rng(step))
        after = sampler.tensors()["traces"]
        assert bool(after.isnan().all()) == (step < 4)
        assert torch.equal(before, after) == (step == 5) or step == 3


def test_a_space_without_precisions_draws_uniformly():
    plain = Policy(weight_bits=(None,), activation_bits=(None,), edge_bits=None)
    space = residual(
        inputs=(Input("image", (1, 6, 6)),),
        output=(3,),
        widths=((4, 6), (4, 8)),
        depths=((1, 2),),
        policy=plain,
    )
    context = context_of(space)
    assert bit_choices(space) == layer_choices(space) == {}
    sampler = HessianAware(context)
    drawn_at = sampler.draw(Moment(5, context.plan), context.batch(5), np.random.default_rng(0))
    assert len(drawn_at.random) == 3


def test_precisions_are_found_at_any_operator():
    graph = Graph(Input("image", (2, 4, 4)))
    graph.add("a", Conv2d(choice("width", (2, 4)), 3, weight=precision("w", (2, 4, None))))
    held = Quant(Int(choice("inner", (4, 8))))
    graph.add("b", Conv2d(4, 3, activation=choice("x", (Quant(Int(2)), held))))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(3, weight=Quant(Int(8))))
    space = SearchSpace(graph)
    named = {space.choices[column].name: bits for column, bits in bit_choices(space).items()}
    assert named == {"w.bits": (2, 4, 32), "x": (2, 8)}
    assert {a: {space.choices[c].name for c in cs} for a, cs in layer_choices(space).items()} == {
        "a": {"w.bits"}
    }
    rows = drawn(space, np.random.default_rng(0), 64, quantized=False)
    assert (rows[:, space.column["w.bits"]] == 2).all()
    assert set(rows[:, space.column["width"]]) == {0, 1}
