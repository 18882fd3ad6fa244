"""Rewrites that scale channels keep the function, and do what they are for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nas.evaluation.rewrites import makers
from nas.testing.rewrite import drawn_tensors
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    Input,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Multiply,
)
from search_spaces.quant import PerChannel, PerTensor, Quant
from search_spaces.space import SearchSpace
from supernets.deployed import values
from supernets.post_training import PostTraining, Reference, float_network, nearest
from supernets.post_training.equalize import awq, equalize, smooth
from supernets.post_training.scaling import largest_read, largest_written, scaled_channels

WEIGHT, INPUT = Quant(Int(4), PerTensor()), Quant(Int(8, symmetric=False))
PRECISION = {"weight": WEIGHT, "activation": INPUT}


def _mobile():
    """A graph with ReLU, a depthwise and a grouped convolution, a residual addition and a head."""
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("stem", Conv2d(8, 3, **PRECISION))
    graph.add("stem.norm", BatchNorm2d())
    x = graph.add("stem.relu", Activation("relu"))
    graph.add("wide", Conv2d(12, 1, **PRECISION))
    graph.add("wide.act", LeakyReLU(0.1))
    graph.add("depth", DepthwiseConv2d(3, **PRECISION))
    graph.add("depth.relu", Activation("relu"))
    y = graph.add("narrow", Conv2d(8, 1, **PRECISION))
    graph.add("add", Add(INPUT), x, y)
    graph.add("pool", MaxPool2d(2, 2))
    graph.add("grouped", Conv2d(8, 3, groups=2, **PRECISION))
    graph.add("six", Activation("relu6"))
    graph.add("last", Conv2d(6, 1, **PRECISION))
    graph.add("mean", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(5, **PRECISION))
    return graph, {"image": torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))}


def _tokens():
    """A layer norm that two linear layers read, whose product a third one reads."""
    graph = Graph(Input("tokens", (6, 8)))
    graph.add("embed", Linear(8, **PRECISION))
    x = graph.add("norm", LayerNorm())
    one = graph.add("up", Linear(12, **PRECISION), x)
    one = graph.add("relu", Activation("relu"), one)
    gate = graph.add("gate", Linear(12, **PRECISION), x)
    graph.add("product", Multiply(), one, gate)
    graph.add("down", Linear(8, **PRECISION))
    return graph, {"tokens": torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(3))}


@pytest.fixture(params=[_mobile, _tokens], ids=["mobile", "tokens"])
def made(request):
    graph, batch = request.param()
    network = float_network(graph, drawn_tensors(SearchSpace(graph)))
    return network, Reference(network, [batch]), batch


def _groups(network):
    return {
        frozenset(group.writers): set(group.readers) for group in scaled_channels(network.graph)
    }


def test_channels_are_those_between_operators_that_hand_factors_on():
    graph, _ = _mobile()
    network = float_network(graph, drawn_tensors(SearchSpace(graph)))
    assert _groups(network) == {
        frozenset({"stem", "narrow"}): {"wide", "grouped"},
        frozenset({"wide"}): {"depth"},
        frozenset({"depth"}): {"narrow"},
        frozenset({"last"}): {"head"},  # relu6 hands no factor on, so `grouped` has none
    }
    graph, _ = _tokens()
    network = float_network(graph, drawn_tensors(SearchSpace(graph)))
    # A layer norm divides by what it reads, and a product of two channels is no sum.
    assert _groups(network) == {frozenset({"norm"}): {"up", "gate"}}


@pytest.mark.parametrize("maker", [equalize, smooth, awq])
def test_the_function_stays(made, maker):
    network, reference, batch = made
    changed = maker(reference)(network)
    differs = [a for a in network.parameters if not _equal(network, changed, a)]
    assert changed.graph == network.graph
    assert len(differs) >= 2 or (maker is equalize and "norm" in network.parameters)
    with torch.no_grad():
        wanted, found = network.module()(**batch), changed.module()(**batch)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def _equal(one, other, address):
    held = one.parameters[address]
    return all(
        np.array_equal(values(stored), values(other.parameters[address][name]))
        for name, stored in held.items()
    )


def test_equalized_ranges_are_alike_on_both_sides():
    graph, batch = _mobile()
    network = float_network(graph, drawn_tensors(SearchSpace(graph)))
    held = equalize(Reference(network, [batch]))(network)
    for writer, reader, count in (("wide", "depth", 12), ("depth", "narrow", 12)):
        above = largest_written(held.weight(writer))
        below = largest_read(held.weight(reader), count)
        np.testing.assert_allclose(above, below, rtol=1e-2)


def test_smoothing_hands_half_of_the_range_of_inputs_to_weights():
    graph, batch = _tokens()
    network = float_network(graph, drawn_tensors(SearchSpace(graph)))
    changed = smooth(Reference(network, [batch]))(network)
    seen = _norms(network, batch)
    weights = np.maximum(*(np.abs(network.weight(a)).max(0) for a in ("up", "gate")))
    np.testing.assert_allclose(_norms(changed, batch), seen / np.sqrt(seen / weights), rtol=1e-4)


def _norms(network, batch):
    """The greatest size of every feature behind the layer norm."""
    graph = Graph.from_nodes(dict([*network.graph.nodes.items()][:3]))
    shown = replace(network, graph=graph)
    with torch.no_grad():
        return shown.module()(**batch).abs().amax((0, 1)).double().numpy()


def test_scaling_for_inputs_lowers_the_error_of_rounded_layers():
    graph, batch = _tokens()
    graph.nodes["up"] = replace(
        graph.nodes["up"], op=Linear(12, Quant(Int(3), PerChannel()), INPUT)
    )
    tensors = drawn_tensors(SearchSpace(graph))
    tensors["norm.scale"] = torch.tensor([8.0, 4.0, 1.0, 1.0, 1.0, 0.5, 0.3, 0.2])
    network = float_network(graph, tensors)
    reference = Reference(network, [batch])
    errors = []
    for given in (network, awq(reference)(network)):
        rounded = given
        for address in ("up", "gate"):
            quant = given.graph.nodes[address].op.weight
            weight = nearest.rounded(given.weight(address), quant)
            rounded = rounded.changed(address, weight=weight)
        with torch.no_grad():
            off = rounded.module()(**batch) - network.module()(**batch)
        errors.append(float(off.square().mean()))
    assert errors[1] < errors[0]


def test_repairs_compare_with_the_scaled_network_and_scaling_comes_first():
    graph, batch = _mobile()
    space = SearchSpace(graph)
    tensors, names = drawn_tensors(space), ["ranges", "nearest", "norm-repair"]
    with torch.no_grad():
        exact = float_network(graph, tensors).module()(**batch)
        for first in ("equalize", "smooth", "awq"):
            made = PostTraining(space, tensors, [batch], rewrites=makers([first, *names]))
            off = (made(space.smallest).module()(**batch) - exact).square().mean()
            assert off < 0.1 * exact.var()
    with pytest.raises(ValueError, match="put equalize, smooth, awq and their like first"):
        PostTraining(space, tensors, [batch], rewrites=makers([*names, "equalize"]))
