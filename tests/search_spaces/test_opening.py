"""Precision choices opened on float graphs: which there are, what they are called, who shares."""

import numpy as np
import pytest

from nas.own.uniform import uniform_policies
from search_spaces.formats import E4M3, Int
from search_spaces.graph import Graph
from search_spaces.layers import blocks_of, edges_of, streams_of
from search_spaces.opening import Opening, opened
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Concat,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    LayerNorm,
    Linear,
    MatMul,
    Multiply,
    Reshape,
)
from search_spaces.quant import PerChannel, PerGroup, PerTensor, Quant, bits_of
from search_spaces.space import SearchSpace


@pytest.fixture(scope="module")
def residual() -> Graph:
    """Two blocks with addresses as torch gives them."""
    graph = Graph(Input("x", (3, 8, 8)))
    graph.add("conv1", Conv2d(4, 3))
    x = graph.add("relu", Activation("relu"))
    for block in ("layer1.0", "layer1.1"):
        graph.add(f"{block}.conv1", Conv2d(4, 3), x)
        graph.add(f"{block}.bn1", BatchNorm2d())
        graph.add(f"{block}.conv2", Conv2d(4, 3))
        graph.add(f"{block}.add", Add(), f"{block}.conv2", x)
        x = graph.add(f"{block}.relu", Activation("relu"))
    graph.add("pool", GlobalPool())
    graph.add("flatten", Flatten())
    graph.add("fc", Linear(5))
    return graph


@pytest.fixture(scope="module")
def attention() -> Graph:
    """One head of attention and a gated layer."""
    graph = Graph(Input("x", (4, 8)))
    graph.add("embed", Linear(8))
    graph.add("attn.norm", LayerNorm())
    for name in ("q", "k", "v"):
        graph.add(f"attn.{name}", Linear(8), "attn.norm")
    graph.add("attn.scores", MatMul(transposed=True), "attn.q", "attn.k")
    graph.add("attn.mix", MatMul(), "attn.scores", "attn.v")
    graph.add("attn.out", Linear(8))
    graph.add("add", Add(), "attn.out", "embed")
    for name in ("gate", "up"):
        graph.add(f"mlp.{name}", Linear(16), "add")
    graph.add("mlp.product", Multiply(), "mlp.gate", "mlp.up")
    graph.add("mlp.down", Linear(8))
    graph.add("flat", Reshape((32,)))
    graph.add("head", Linear(3))
    return graph


def names(graph: Graph) -> list[str]:
    return [made.name for made in SearchSpace(graph).choices]


def test_a_clamp_has_a_precision_only_where_it_is_a_kernel_of_its_own(residual):
    graph = Graph(Input("x", (3, 8, 8)))
    graph.add("first", Activation("relu"))
    graph.add("conv", Conv2d(4, 3))
    graph.add("norm", BatchNorm2d())
    behind = graph.add("behind", Activation("relu6"))
    graph.add("both", Concat(2), behind, "first")
    graph.add("last", Activation("relu"))
    opening = Opening(weights=(8,), activations=(8,), others=(8, None))
    assert names(opened(graph, opening)) == [
        *(f"{name}.activation.bits" for name in ("first", "both", "last"))
    ]
    others = names(opened(residual, opening))
    assert not [name for name in others if "relu" in name]


def test_every_weight_and_every_input_of_a_layer_has_a_choice(residual):
    found = names(opened(residual, Opening(weights=(3, 4), activations=(4, 8), ties=())))
    layers = ["conv1", "fc", *(f"layer1.{b}.conv{n}" for b in (0, 1) for n in (1, 2))]
    assert sorted(found) == sorted(
        f"{a}.{p}.bits" for a in layers for p in ("weight", "activation")
    )


def test_options_are_formats_granularities_and_symmetries(residual):
    opening = Opening(
        weights=(2, 8, E4M3, None),
        activations=(8,),
        weight_granularities=(PerTensor(), PerChannel()),
        weight_symmetries=(True, False),
    )
    space = SearchSpace(opened(residual, opening))
    assert space.picks(space.smallest)["conv1.weight.bits"] == 2
    assert "conv1.weight.granularity" in space.column
    assert "conv1.weight.symmetric" in space.column
    first = {
        space.decode(row).nodes["fc"].op.weight
        for row in space.sample_array(np.random.default_rng(0), 200).tolist()
    }
    wanted = {
        Quant(Int(b, s), g)
        for b in (2, 8)
        for s in (True, False)
        for g in (PerTensor(), PerChannel())
    }
    assert first == wanted | {None, Quant(E4M3, PerTensor()), Quant(E4M3, PerChannel())}
    assert space.decode(space.smallest).nodes["fc"].op.activation == Quant(Int(8, symmetric=False))


def test_everything_else_stays(residual):
    graph = opened(residual, Opening())
    space = SearchSpace(graph)
    assert space.decode(space.largest) == residual


def test_blocks_are_numbered_parts_with_several_weights(residual):
    blocks = blocks_of(residual)
    assert blocks["layer1.0.conv1"] == blocks["layer1.0.add"] == "layer1.0"
    assert blocks["conv1"] == "conv1"
    found = names(opened(residual, Opening(weights=(3, 4), activations=(8,), fineness="block")))
    assert found == [
        "conv1.weight.bits",
        "layer1.0.weight.bits",
        "layer1.1.weight.bits",
        "fc.weight.bits",
    ]


def test_a_network_decides_once_and_edges_apart(residual):
    opening = Opening(weights=(3, 4), activations=(8,), others=(8, None), fineness="network")
    assert names(opened(residual, opening)) == ["weight.bits", "tensor.activation.bits"]
    apart = Opening(weights=(3, 4), activations=(8,), edges=(8, None), fineness="network")
    assert names(opened(residual, apart)) == [
        "edge.weight.bits",
        "edge.activation.bits",
        "weight.bits",
    ]
    assert edges_of(residual) == {"conv1", "fc"}


def test_edges_may_have_a_single_precision(residual):
    graph = opened(residual, Opening(weights=(3, 4), activations=(4,), edges=(8,)))
    assert graph.nodes["fc"].op.weight == Quant(Int(8), PerChannel())
    assert graph.nodes["conv1"].op.activation == Quant(Int(8, symmetric=False))
    assert graph.nodes["layer1.0.conv1"].op.activation == Quant(Int(4, symmetric=False))


@pytest.mark.parametrize("pattern", ["layer1.0", "layer1.0.*", "layer1.0.conv?"])
def test_layers_are_left_alone_by_address_beginning_or_pattern(residual, pattern):
    found = names(opened(residual, Opening(alone=(pattern, "fc"))))
    assert not any(name.startswith(("layer1.0.conv", "fc")) for name in found)
    assert "layer1.1.conv1.weight.bits" in found


def test_unknown_layers_to_be_left_alone_are_all_told_with_near_ones(residual):
    with pytest.raises(ValueError, match=r"'layer1.0.conv3' \(near: layer1\.0\.conv.*'head'"):
        opened(residual, Opening(alone=("layer1.0.conv3", "head")))


def test_queries_keys_and_values_decide_together_and_so_do_gates(attention):
    space = SearchSpace(opened(attention, Opening(weights=(4, 8), activations=(4, 8))))
    rng = np.random.default_rng(0)
    for row in space.sample_array(rng, 20).tolist():
        ops = {at: node.op for at, node in space.decode(row).nodes.items()}
        assert ops["attn.q"].weight == ops["attn.k"].weight == ops["attn.v"].weight
        assert ops["attn.q"].activation == ops["attn.v"].activation
        assert ops["mlp.gate"].weight == ops["mlp.up"].weight
    assert "attn.q.weight.bits" in space.column
    assert "attn.scores.activation.bits" in space.column
    untied = SearchSpace(opened(attention, Opening(weights=(4, 8), ties=())))
    assert "attn.k.weight.bits" in untied.column


def test_readers_of_one_tensor_decide_together_where_asked(residual):
    opening = Opening(activations=(4, 8), others=(4, 8, None))
    graph = opened(residual, opening)
    assert graph.nodes["layer1.0.add"].op.activation != graph.nodes["layer1.0.conv1"].op.activation
    branches = Graph(Input("x", (3, 8, 8)))
    branches.add("stem", Conv2d(4, 3))
    ends = [branches.add(f"branch{n}", Conv2d(4, n), "stem") for n in (1, 3)]
    branches.add("concat", Concat(2), *ends)
    for ties, count in ((("readers",), 2), ((), 3)):
        found = names(opened(branches, Opening(weights=(8,), activations=(4, 8), ties=ties)))
        assert len(found) == count, ties


def test_additions_of_one_stream_decide_together_where_asked(residual, attention):
    assert [*streams_of(residual)] == [["layer1.0.add", "layer1.1.add"]]
    assert [*streams_of(attention)] == []
    tied = opened(residual, Opening(others=(8, None), ties=("sums",)))
    own = opened(residual, Opening(others=(8, None), ties=()))
    assert "layer1.1.add.activation.bits" not in names(tied)
    assert "layer1.1.add.activation.bits" in names(own)


def test_a_weight_gets_the_granularities_that_fit(residual):
    both = Opening(weights=(4, 8), weight_granularities=(PerChannel(), PerGroup(4)))
    found = names(opened(residual, both))
    assert "layer1.0.conv1.weight.granularity" in found
    assert "conv1.weight.granularity" not in found, "three input channels make no group of four"
    with pytest.raises(ValueError, match=r"per-group-4 fits the weight of conv1, of shape \(4, 3"):
        opened(residual, Opening(weight_granularities=(PerGroup(4),)))


def test_uniform_policies_are_listed_and_edges_keep_at_least_as_many_bits(residual):
    opening = Opening(weights=(2, 4, None), activations=(4, 8), edges=(8, None))
    space = SearchSpace(opened(residual, opening))
    found = {policy.name: policy.genotype for policy in uniform_policies(space)}
    assert {"int4", "int4 weights, int8 activations", "float32 weights, int8 activations"} <= {
        *found
    }
    inner = space.decode(found["int2 weights, int4 activations"]).nodes["layer1.1.conv2"].op
    assert (bits_of(inner.weight), bits_of(inner.activation)) == (2, 4)
    edge = space.decode(found["int2 weights, int4 activations"]).nodes["fc"].op
    assert (bits_of(edge.weight), bits_of(edge.activation)) == (8, 8)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weights": (8, 4)}, r"weights must hold at least one option"),
        ({"activations": ()}, r"activations must hold at least one option"),
        ({"ties": ("qkv",)}, r"no tie qkv; there are siblings, readers, sums"),
        ({"fineness": "stage"}, r"fineness is one of network, block, layer, given 'stage'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        Opening(**options)


def test_a_graph_with_precisions_is_refused(residual):
    with pytest.raises(ValueError, match="'conv1' already has a precision"):
        opened(opened(residual, Opening()), Opening())
