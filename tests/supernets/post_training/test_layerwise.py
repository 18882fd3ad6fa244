"""Rounding layer by layer, against what earlier layers give and towards the float network."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from nas.testing.rewrite import drawn_tensors
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, Add, Conv2d, DepthwiseConv2d, Embedding, Input, Linear
from search_spaces.quant import PerChannel, PerGroup, Quant
from search_spaces.space import SearchSpace
from supernets.deployed import values
from supernets.encoded import EncodedTensor
from supernets.post_training import Reference, float_network
from supernets.post_training.layerwise import adaquant, adaround, gptq, layerwise
from supernets.post_training.moments import columns, moments, outputs
from supernets.post_training.nearest import nearest
from supernets.post_training.walk import affordable, first_samples
from supernets.supernet import Supernet

THREE = Quant(Int(3), PerChannel())
SIX = Input("image", (6, 7, 7))


def _network(graph):
    return float_network(graph, drawn_tensors(SearchSpace(graph)))


def _images(count=64):
    drawn = torch.Generator().manual_seed(4)
    mixing = torch.randn(6, 6, generator=drawn)
    plain = torch.randn(count, 7, 7, 6, generator=drawn) @ mixing
    return {"image": plain.permute(0, 3, 1, 2).contiguous()}


def _residual():
    graph = Graph(SIX)
    graph.add("first", Conv2d(6, 3, weight=THREE))
    x = graph.add("relu", Activation("relu"))
    y = graph.add("depth", DepthwiseConv2d(3, weight=THREE), x)
    y = graph.add("second", Conv2d(6, 3, stride=1, groups=2, weight=Quant(Int(3), PerGroup(3))))
    graph.add("add", Add(), x, y)
    graph.add("last", Conv2d(4, 3, weight=THREE))
    return graph


@pytest.fixture(scope="module")
def residual():
    network, batch = _network(_residual()), _images()
    halves = [{"image": part} for part in batch["image"].split(32)]
    return network, Reference(network, halves), batch


def _off(network, other, batch):
    with torch.no_grad():
        return float((other.module()(**batch) - network.module()(**batch)).square().mean())


@pytest.mark.parametrize(
    "op",
    [
        Conv2d(4, 3),
        Conv2d(4, (3, 2), stride=2, padding=(0, 1, 2, 0), groups=2),
        Conv2d(4, 3, dilation=2),
        DepthwiseConv2d(3),
    ],
    ids=str,
)
def test_columns_times_the_weight_are_the_outputs_of_a_convolution(op):
    graph = Graph(SIX)
    graph.add("conv", op)
    network, batch = _network(graph), _images(3)
    with torch.no_grad():
        y = network.module()(**batch)
    places = torch.randperm(y[0, 0].numel())[:4]
    read = columns(op, batch["image"], places)
    weight, bias = (values(network.parameters["conv"][name]) for name in ("weight", "bias"))
    found = torch.from_numpy(weight).reshape(len(read), -1, read.shape[1]) @ read
    found = found.flatten(0, 1) + torch.from_numpy(bias)[:, None]
    torch.testing.assert_close(found, outputs(op, y, places), rtol=1e-4, atol=1e-5)


def test_moments_are_about_the_means_and_hold_what_is_missed():
    drawn = torch.Generator().manual_seed(0)
    x, missed = (torch.randn(1, n, 50, generator=drawn) + 1 for n in (3, 2))
    found = moments([(x[..., :20], missed[..., :20]), (x[..., 20:], missed[..., 20:])])
    whole = torch.cat([x, missed], dim=1)[0]
    covariance = torch.cov(whole, correction=0)
    torch.testing.assert_close(found.gram[0], covariance[:3, :3])
    torch.testing.assert_close(found.cross[0], covariance[3:, :3])
    torch.testing.assert_close(found.mean[0], whole[:3].mean(1))
    torch.testing.assert_close(found.missed[0], whole[3:].mean(1))


@pytest.mark.parametrize("maker", [gptq, adaquant, partial(adaround, rounds=60)])
def test_the_network_is_nearer_to_the_float_network_than_rounded_to_nearest(residual, maker):
    network, reference, batch = residual
    plain = nearest(reference)(network)
    found = maker(reference)(network)
    assert _off(network, found, batch) < 0.7 * _off(network, plain, batch)


def test_biases_make_the_mean_of_every_channel_what_it_was(residual):
    network, reference, batch = residual
    found = layerwise(reference, lambda target, _gram, lattice, _: (lattice.near(target), lattice))(
        network
    )
    with torch.no_grad():
        wanted, given = (one.module()(**batch).mean((0, 2, 3)) for one in (network, found))
    torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-3)


def test_a_float_layer_behind_rounded_ones_is_left_alone(residual):
    network, reference, _ = residual
    nodes = dict(network.graph.nodes)
    nodes["last"] = replace(nodes["last"], op=replace(nodes["last"].op, weight=None))
    mixed = replace(network, graph=Graph.from_nodes(nodes))
    found = gptq(reference)(mixed)
    assert isinstance(found.weight("first"), EncodedTensor)
    assert np.array_equal(found.weight("last"), network.weight("last"))


def test_a_layer_makes_good_the_error_of_what_it_is_added_to():
    graph = Graph(SIX)
    x = graph.add("one", Conv2d(6, 1, weight=Quant(Int(2), PerChannel())), "input")
    y = graph.add("other", Conv2d(6, 3, weight=Quant(Int(8), PerChannel())), "input")
    graph.add("add", Add(), x, y)
    network, batch = _network(graph), _images()
    found = gptq(Reference(network, [batch]))(network)
    plain = nearest(Reference(network, [batch]))(network)
    assert _off(network, found, batch) < 0.1 * _off(network, plain, batch)


def test_a_table_is_rounded_to_the_nearest_and_a_linear_layer_reads_all_places():
    graph = Graph(Input("tokens", (5,), "int64", values=9))
    graph.add("table", Embedding(9, 8, weight=THREE))
    graph.add("up", Linear(6, weight=THREE))
    space = SearchSpace(graph)
    supernet = Supernet(space, seed=0)
    tensors = {
        f"{address}.{name}": tensor.detach()
        for address in graph.nodes
        for name, tensor in supernet.node(address).parameters_by_name().items()
    }
    network = float_network(graph, tensors)
    batch = {"tokens": torch.randint(9, (40, 5), generator=torch.Generator().manual_seed(0))}
    reference = Reference(network, [batch])
    found, plain = gptq(reference)(network), nearest(reference)(network)
    assert np.array_equal(found.weight("table").codes, plain.weight("table").codes)
    assert _off(network, found, batch) < _off(network, plain, batch)


def test_a_walk_takes_the_first_samples():
    batches = [{"x": torch.arange(4)}, {"x": torch.arange(4, 8)}]
    for most, expected in ((8, [4, 4]), (5, [4, 1]), (3, [3]), (9, [4, 4])):
        assert [len(batch["x"]) for batch in first_samples(batches, most)] == expected


def test_a_walk_through_a_large_network_reads_fewer_samples():
    def graph(side):
        made = Graph(Input("image", (3, side, side)))
        made.add("conv", Conv2d(64, 3, weight=THREE))
        return made

    small, large, huge = (affordable(graph(side)) for side in (8, 256, 4096))
    assert small == 2**26 // (64 * 8 * 8)
    assert large == 2**26 // (64 * 256 * 256)
    assert huge == 16
