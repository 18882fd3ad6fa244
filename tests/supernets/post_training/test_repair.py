"""Repaired layers have the moments of the float network on the calibration batches."""

from functools import reduce

import pytest
import torch

from nas.evaluation.rewrites import makers
from nas.testing.rewrite import drawn_tensors
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, BatchNorm2d, Conv2d, Flatten, GlobalPool, Input, Linear
from search_spaces.policy import full_precision
from search_spaces.quant import PerChannel, PerTensor, Quant
from search_spaces.space import SearchSpace
from supernets.post_training import Reference, float_network
from supernets.post_training.observing import outputs_at
from supernets.post_training.repair import moments_of


def network(granularity):
    """Two rounded convolutions and a rounded classifier."""
    graph = Graph(Input("image", (3, 8, 8)))
    weight = Quant(Int(2), granularity)
    for name in ("a", "b"):
        graph.add(name, Conv2d(6, 3, weight=weight))
        graph.add(f"{name}.norm", BatchNorm2d())
        graph.add(f"{name}.relu", Activation("relu"))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(4, weight=weight))
    tensors = drawn_tensors(SearchSpace(graph))
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    reference = Reference(float_network(full_precision(graph), tensors), [images[:8], images[8:]])
    return float_network(graph, tensors), reference


def applied(names, given, reference):
    return reduce(lambda made, make: make(reference)(made), makers(names), given)


def at(deployed, reference, address):
    outputs = [*outputs_at(deployed, address, reference.batches)]
    return moments_of(outputs, deployed.graph.nodes[address].op.channel_axis)


@pytest.mark.parametrize("address", ["a", "b", "head"])
def test_means_and_variances_are_those_of_the_float_network(address):
    given, reference = network(PerChannel())
    wanted = at(reference.network, reference, address)
    rounded = at(applied(["nearest"], given, reference), reference, address)
    found = at(applied(["nearest", "norm-repair"], given, reference), reference, address)
    assert not torch.allclose(rounded.mean, wanted.mean, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(found.mean, wanted.mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.variance, wanted.variance, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["norm-repair", "bias-correction"])
def test_a_weight_with_a_single_scale_keeps_its_scale_and_gets_the_means(name):
    given, reference = network(PerTensor())
    rounded = applied(["nearest"], given, reference)
    made = applied([name], rounded, reference)
    for address in ("a", "b", "head"):
        assert made.weight(address) is rounded.weight(address)
        wanted = at(reference.network, reference, address).mean
        torch.testing.assert_close(at(made, reference, address).mean, wanted, rtol=1e-3, atol=1e-4)


def test_bias_correction_changes_biases_only():
    given, reference = network(PerChannel())
    rounded = applied(["nearest"], given, reference)
    made = applied(["bias-correction"], rounded, reference)
    assert all(made.weight(a) is rounded.weight(a) for a in ("a", "b", "head"))
    wanted = at(reference.network, reference, "head").mean
    torch.testing.assert_close(at(made, reference, "head").mean, wanted, rtol=1e-3, atol=1e-4)


def test_layers_in_floats_are_left_alone():
    given, reference = network(PerChannel())
    assert applied(["norm-repair"], given, reference) is given


def test_a_repair_behind_integer_biases_is_refused():
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("a", Conv2d(4, 3, weight=Quant(Int(4), PerChannel()), activation=Quant(Int(8))))
    graph.add("flat", Flatten())
    tensors = drawn_tensors(SearchSpace(graph))
    reference = Reference(float_network(full_precision(graph), tensors), [torch.randn(4, 3, 8, 8)])
    given = float_network(graph, tensors)
    names = ["ranges", "nearest", "round-biases", "norm-repair"]
    with pytest.raises(ValueError, match=r"biases of a are integers already.*round-biases last"):
        applied(names, given, reference)


@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 4, 2), 0), ((5, 4, 3), -1), ((5, 3), -1)])
def test_moments_are_those_of_all_parts(shape, axis):
    whole = 100 + torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = moments_of([whole[:2], whole[2:]], axis)
    channels = whole.movedim(1 if axis == 0 else -1, 0).flatten(1).double()
    torch.testing.assert_close(found.mean.double(), channels.mean(1))
    variance = channels.var(1, correction=0)
    torch.testing.assert_close(found.variance.double(), variance, rtol=1e-3, atol=1e-6)
