"""Blocks rounded as a whole."""

from functools import partial

import pytest
import torch

from nas.evaluation.rewrites import makers
from nas.testing.rewrite import RewriteContract, drawn_tensors
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, Add, Conv2d, Input
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import SearchSpace
from supernets.post_training import Reference, float_network
from supernets.post_training.block_reconstruction import Block, blocks, brecq
from supernets.post_training.layerwise import adaquant

TWO = Quant(Int(2), PerChannel())


def _residual(last=True):
    graph = Graph(Input("image", (6, 6, 6)))
    x = graph.add("stem", Conv2d(6, 3, weight=TWO))
    graph.add("layer.0.conv1", Conv2d(6, 3, weight=TWO))
    graph.add("layer.0.relu", Activation("relu"))
    y = graph.add("layer.0.conv2", Conv2d(6, 3, weight=TWO))
    graph.add("layer.0.add", Add(), x, y)
    if last:
        graph.add("head", Conv2d(4, 1, weight=TWO))
    return graph


def test_a_block_has_one_output_and_reads_what_is_computed_before():
    stem = Block(("stem",), ("input",))
    inside = ("layer.0.conv1", "layer.0.relu", "layer.0.conv2", "layer.0.add")
    assert blocks(_residual()) == [
        stem,
        Block(inside, ("stem",)),
        Block(("head",), ("layer.0.add",)),
    ]


def test_a_block_with_two_outputs_falls_into_its_operators():
    graph = _residual(last=False)
    graph.add("sum", Add(), "layer.0.conv1", "layer.0.add")
    assert [block.members for block in blocks(graph)] == [
        ("stem",),
        ("layer.0.conv1",),
        ("layer.0.conv2",),
    ]


def test_blocks_are_no_worse_than_layers_and_mostly_better():
    graph = _residual()
    network = float_network(graph, drawn_tensors(SearchSpace(graph)))
    batch = {"image": torch.randn(48, 6, 6, 6, generator=torch.Generator().manual_seed(0))}
    reference = Reference(network, [batch])
    errors = []
    for maker in (adaquant, brecq):
        with torch.no_grad():
            off = maker(reference)(network).module()(**batch) - network.module()(**batch)
        errors.append(float(off.square().mean()))
    assert errors[1] < errors[0]


class TestBrecq(RewriteContract):
    before = makers(["ranges"])

    @pytest.fixture
    def maker(self):
        return partial(brecq, rounds=3)
