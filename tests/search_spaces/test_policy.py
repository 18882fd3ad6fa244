"""First and last layers, additions and poolings under a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.quant import Granularity, PerChannel, PerTensor, Quant, bits_of
from search_spaces.residual import residual
from search_spaces.space import SearchSpace

TENSOR, CHANNEL = PerTensor(), PerChannel()
STAGES = (Stage(8, 1), Stage(16, 2, squeeze_excite=True, function="hardswish"))


def spaces(policy: Policy) -> list[SearchSpace]:
    shared = {"inputs": (Input("image", (1, 8, 8)),), "output": (10,), "policy": policy}
    return [
        residual(**shared, widths=((8,), (8, 16)), depths=((1, 2),)),
        mobilenet(**shared, stages=STAGES, first=Stage(16, 1, function="relu6"), depths=(1, 2)),
    ]


def quants(graph: Graph) -> list[Quant]:
    """Every precision of a resolved graph."""
    both = ((node.op.weight, node.op.activation) for node in graph.nodes.values())
    return [quant for pair in both for quant in pair if quant is not None]


def drawn(space: SearchSpace) -> list[Graph]:
    return [space.decode(row) for row in space.sample_array(np.random.default_rng(0), 80).tolist()]


def test_a_policy_of_defaults_has_the_choices_that_it_always_had() -> None:
    """Archives name genotypes by their choices."""
    for space in spaces(Policy()):
        assert not any(made.name.startswith(("edge.", "tensor.")) for made in space.choices)
        ops = {name: node.op for name, node in space.decode(space.largest).nodes.items()}
        for name in ("stem", "head"):
            assert ops[name].weight == Quant(Int(8, symmetric=True), CHANNEL)
            assert ops[name].activation == Quant(Int(8, symmetric=False), TENSOR)
        assert ops["pool"].activation == Quant(Int(8, symmetric=False), TENSOR)


@pytest.mark.parametrize(
    ("options", "weight", "activation"),
    [
        ({"weight_granularities": (TENSOR,)}, (TENSOR, True), (TENSOR, False)),
        ({"weight_symmetries": (False,)}, (CHANNEL, False), (TENSOR, False)),
        ({"activation_symmetries": (True,)}, (CHANNEL, True), (TENSOR, True)),
        ({"activation_granularities": (CHANNEL,)}, (CHANNEL, True), (CHANNEL, False)),
    ],
)
def test_no_layer_has_a_format_that_the_policy_leaves_out(
    options: dict[str, Any],
    weight: tuple[Granularity, bool],
    activation: tuple[Granularity, bool],
) -> None:
    for space in spaces(Policy(**options)):
        for graph in drawn(space):
            ops = [node.op for node in graph.nodes.values()]
            found = {(o.weight.granularity, o.weight.integers.symmetric) for o in ops if o.weight}
            read = {(r.granularity, r.integers.symmetric) for o in ops if (r := o.activation)}
            assert (found, read) == ({weight}, {activation})


def test_several_formats_are_one_decision_for_all_edges() -> None:
    policy = Policy(weight_granularities=(TENSOR, CHANNEL), activation_symmetries=(False, True))
    for space in spaces(policy):
        names = [made.name for made in space.choices]
        assert names.count("edge.weight.granularity") == 1
        picked = set()
        for graph in drawn(space):
            stem, head = graph.nodes["stem"].op, graph.nodes["head"].op
            assert (stem.weight, stem.activation) == (head.weight, head.activation)
            picked.add((stem.weight, stem.activation, graph.nodes["pool"].op.activation))
        assert len(picked) == 8
        assert SearchSpace.from_json(space.to_json()) == space


def test_edges_may_choose_their_bits() -> None:
    for space in spaces(Policy(weight_bits=(2,), activation_bits=(8,), edge_bits=(4, 8))):
        edges = {(g.nodes["stem"].op.weight, g.nodes["head"].op.activation) for g in drawn(space)}
        assert {(bits_of(w), bits_of(a)) for w, a in edges} == {(4, 4), (4, 8), (8, 4), (8, 8)}
