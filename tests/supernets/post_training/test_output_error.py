"""Output errors foretell what a rounded layer gives."""

import numpy as np
import pytest
import torch

from nas.testing.rewrite import drawn_tensors
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, DepthwiseConv2d, Flatten, Input, Linear
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import SearchSpace
from supernets.post_training import Reference, float_network
from supernets.post_training.nearest import rounded
from supernets.post_training.output_error import output_errors

QUANTS = [Quant(Int(bits), PerChannel()) for bits in (2, 3, 8)]


@pytest.fixture(scope="module")
def reference() -> Reference:
    graph = Graph(Input("image", (4, 6, 6)))
    graph.add("a", Conv2d(6, 3, 2))
    graph.add("b", DepthwiseConv2d(3))
    graph.add("flat", Flatten())
    graph.add("c", Linear(5))
    images = torch.randn(12, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    return Reference(float_network(graph, drawn_tensors(SearchSpace(graph))), [images])


@pytest.mark.parametrize("address", ["a", "b", "c"])
def test_the_error_to_the_nearest_is_that_of_the_outputs(reference, address):
    network = reference.network
    wanted = torch.cat([*reference.activations(address)])
    found = output_errors(reference, {address: QUANTS})[address]
    for quant in QUANTS:
        weight = rounded(network.weight(address), quant).values()
        other = Reference(network.changed(address, weight=weight), reference.batches)
        away = torch.cat([*other.activations(address)]) - wanted
        places = away.movedim(1, 0).flatten(1)
        assert found[quant].nearest == pytest.approx(float(places.square().mean(1).sum()), rel=1e-3)


def test_feedback_is_no_worse_and_more_bits_are_better(reference):
    for held in output_errors(reference, dict.fromkeys("abc", QUANTS)).values():
        assert all(error.feedback <= error.nearest * 1.0001 for error in held.values())
        assert (np.diff([error.nearest for error in held.values()]) < 0).all()
