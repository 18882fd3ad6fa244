"""Slimming: every network of a slimmed graph has fitting shapes, and what stays is told."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces.channel_groups import Nested, Part
from search_spaces.choice import Choice
from search_spaces.coupling import coupling
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    Concat,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    LayerNorm,
    Learned,
    Linear,
    MatMul,
    Mean,
    MergeHeads,
    Multiply,
    Pad,
    Permute,
    Reshape,
    Slice,
    Softmax,
    SplitHeads,
)
from search_spaces.ops.structure import Filling
from search_spaces.runs import runs_of
from search_spaces.slimming import reasons, slimmed
from search_spaces.space import SearchSpace
from tests.random_graphs import attention, convolutional


def chain(*, width: int = 8) -> Graph:
    """A stem, a residual block and a head, whose convolutions all have the same width."""
    graph = Graph(Input("image", (3, 4, 4)))
    x = graph.add("stem", Conv2d(width, 3))
    graph.add("block.conv1", Conv2d(width, 3))
    graph.add("block.relu", Activation("relu"))
    main = graph.add("block.conv2", Conv2d(width, 3))
    graph.add("block.add", Add(), main, x)
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(3))
    return graph


def options(graph: Graph) -> dict[str, tuple[object, ...]]:
    return {made.name: made.options for made in SearchSpace(graph).choices}


def test_channels_that_are_added_share_a_width_and_the_block_can_be_absent() -> None:
    space = SearchSpace(slimmed(chain(), shares=(0.25, 0.5)))
    assert options(space.graph) == {
        "stem.width": (2, 4, 8),
        "block.add.present": (False, True),
        "block.conv1.width": (2, 4, 8),
    }
    picked = {"stem.width": 1, "block.add.present": 1, "block.conv1.width": 0}
    shapes = space.graph.resolve(picked).shapes()
    assert [shapes[f"{a}"][0] for a in ("stem", "block.conv1", "block.conv2")] == [4, 2, 4]
    without = space.graph.resolve({**picked, "block.add.present": 0})
    assert [*without.nodes] == ["input", "stem", "pool", "flat", "head"]


@pytest.mark.parametrize("seed", range(8))
def test_every_network_has_fitting_shapes(seed: int) -> None:
    graph = convolutional(seed) if seed % 4 else attention(seed)
    space = SearchSpace(slimmed(graph))
    largest = space.decode(space.largest)
    assert [node.op.canonical() for node in largest.nodes.values()] == [
        node.op.canonical() for node in graph.nodes.values()
    ]
    assert SearchSpace.from_json(space.to_json()) == space
    rng = np.random.default_rng(seed)
    for genotype in (space.smallest, *(space.sample(rng) for _ in range(5))):
        assert space.decode(genotype).shapes()[graph.output] == (5,)


def test_heads_and_groups_go_as_a_whole() -> None:
    made = slimmed(attention(0, heads=4), shares=(0.5,))
    assert options(made)["query.heads"] == (2, 4)
    split = made.nodes["value.heads"].op
    assert isinstance(split, SplitHeads)
    assert split.heads == Choice("query.heads", (2, 4))

    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("first", Conv2d(12, 1))
    graph.add("grouped", Conv2d(6, 3, groups=3))
    graph.add("last", Conv2d(2, 1))
    made = slimmed(graph, shares=(0.3, 0.7))
    assert options(made) == {"first.groups": (1, 2, 3)}
    narrow = made.resolve({"first.groups": 1})
    assert narrow.nodes["grouped"].op == Conv2d(4, 3, groups=2)
    assert narrow.shapes()["first"] == (8, 4, 4)


def test_a_shuffle_is_followed_and_its_reshapes_fit() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("first", Conv2d(6, 1))
    graph.add("cut", Reshape((2, 3, 4, 4)))
    graph.add("turn", Permute((1, 0, 2, 3)))
    graph.add("join", Reshape((6, 4, 4)))
    graph.add("last", Conv2d(2, 1))
    # Channels come in another order behind the shuffle, so that the first ones are other ones.
    assert "another order" in reasons(graph)["first.width"]

    graph = Graph(Input("image", (3, 2, 2)))
    graph.add("first", Conv2d(6, 1))
    graph.add("rows", Reshape((6, 4)))
    graph.add("turn", Permute((1, 0)))
    graph.add("last", Linear(2))
    made = slimmed(graph, shares=(0.5,))
    assert options(made) == {"first.width": (3, 6)}
    assert made.resolve({"first.width": 0}).shapes()["turn"] == (4, 3)


def test_channels_that_meet_in_a_concatenation_have_their_own_widths() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    left, right = graph.add("left", Conv2d(4, 1)), graph.add("right", Conv2d(2, 1), "input")
    graph.add("both", Concat(3), left, right, left)
    graph.add("act", Activation("relu"))
    graph.add("flat", Flatten())
    graph.add("last", Linear(2))
    made = slimmed(graph, shares=(0.5,))
    assert options(made) == {"left.width": (2, 4), "right.width": (1, 2)}
    assert {*reasons(graph)} == {"last.width"}
    narrow = made.resolve({"left.width": 0, "right.width": 1})
    assert narrow.nodes["both"].op == Concat(3, whole=(4, 2, 4))
    assert runs_of(narrow)["flat"] == ((32, 64), (32, 32), (32, 64))
    with pytest.raises(ValueError, match=r"lengths \(4,\) and widest ones of \(2, 2\)"):
        Concat(2, whole=(2, 2)).infer((4,))


def test_what_stands_in_front_of_other_features_of_tokens_stays() -> None:
    graph = Graph(Input("tokens", (3, 6)))
    left, right = graph.add("left", Linear(4)), graph.add("right", Linear(4), "input")
    graph.add("both", Concat(2, axis=1), left, right)
    graph.add("last", Linear(2))
    assert set(options(slimmed(graph))) == {"right.width"}
    assert reasons(graph)["left.width"] == "they stand in front of other channels at 'last'"


def test_layers_left_alone_keep_their_parameters() -> None:
    graph = chain()
    assert set(options(slimmed(graph, leave=["stem"]))) == {
        "block.add.present",
        "block.conv1.width",
    }
    assert reasons(graph, leave=["stem"])["stem.width"] == "'stem' is to be left alone"
    with pytest.raises(ValueError, match="no width and no block"):
        slimmed(graph, leave=["block"])
    with pytest.raises(ValueError, match="'blok' cannot be left alone"):
        slimmed(graph, leave=["blok"])


def test_widths_are_multiples() -> None:
    made = slimmed(chain(width=16), shares=(0.1, 0.4, 0.6), multiple_of=4, blocks=False)
    assert options(made) == dict.fromkeys(("stem.width", "block.conv1.width"), (4, 8, 16))


def test_what_cannot_be_slimmed_is_refused() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("only", Conv2d(4, 3))
    with pytest.raises(ValueError, match=r"only\.width: they are the output"):
        slimmed(graph)
    with pytest.raises(ValueError, match="shares are above 0"):
        slimmed(chain(), shares=(0.0, 1.0))
    with pytest.raises(ValueError, match="resolved graph"):
        slimmed(slimmed(chain()))


def test_an_unknown_way_lets_channels_stay() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("first", Conv2d(4, 3))
    graph.add("odd", _Odd())
    graph.add("last", Conv2d(2, 1))
    assert coupling(graph).free == []
    assert reasons(graph)["first.width"] == "the way of channels through _Odd 'odd' is unknown"


class _Odd(Activation):
    """An operator about which nothing is known."""

    channelwise = False

    def __init__(self) -> None:
        super().__init__("relu")


def test_learned_tensors_have_the_width_of_what_they_are_added_to() -> None:
    graph = Graph(Input("tokens", (3, 6)))
    x = graph.add("embed", Linear(8))
    token = graph.add("token", Learned((1, 8)), "input")
    x = graph.add("tokens", Concat(2, axis=0), token, x)
    positions = graph.add("positions", Learned((4, 8)), "input")
    graph.add("sum", Add(), x, positions)
    graph.add("first", Slice(0, 0, 1))
    graph.add("mean", Mean((0,)))
    graph.add("head", Linear(2))
    made = slimmed(graph, shares=(0.5,))
    assert options(made) == {"embed.width": (4, 8)}
    narrow = made.resolve({"embed.width": 0})
    assert narrow.nodes["token"].op == Learned((1, 4))
    assert narrow.nodes["positions"].op == Learned((4, 4))
    assert narrow.shapes()["mean"] == (4,)


def test_a_gate_of_places_leaves_channels_alone() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    x = graph.add("first", Conv2d(4, 3))
    gate = graph.add("gate", Conv2d(1, 3))
    graph.add("gated", Multiply(), x, gate)
    graph.add("last", Conv2d(2, 1))
    assert set(options(slimmed(graph))) == {"first.width"}


def padded(*, before: int = 2, behind: int = 2, mode: Filling = "value") -> Graph:
    """A convolution, and a block whose shortcut adds empty channels."""
    graph = Graph(Input("image", (3, 4, 4)))
    x = graph.add("stem", Conv2d(4, 3))
    half = graph.add("half", Slice(1, 0, 4, 2), x)
    skip = graph.add("pad", Pad((before, 0, 0), (behind, 0, 0), mode), half)
    graph.add("conv1", Conv2d(8, 3, stride=(2, 1)), x)
    main = graph.add("conv2", Conv2d(4 + before + behind, 3))
    graph.add("add", Add(), main, skip)
    graph.add("last", Conv2d(2, 1))
    return graph


def test_both_sides_of_a_padded_shortcut_have_their_own_width() -> None:
    space = SearchSpace(slimmed(padded(), shares=(0.25, 0.5, 0.8)))
    assert options(space.graph) == {
        "stem.width": (1, 2, 3, 4),
        "conv1.width": (2, 4, 6, 8),
        "conv2.width": (6, 8),  # the channels of the stem and those before them are kept
    }
    assert space.decode(space.largest) == padded()
    narrow = space.graph.resolve({"stem.width": 1, "conv1.width": 0, "conv2.width": 0})
    assert narrow.nodes["pad"].op == Pad((2, 0, 0), (2, 0, 0))
    assert narrow.shapes()["add"] == (6, 2, 4)
    narrow = space.graph.resolve({"stem.width": 0, "conv1.width": 3, "conv2.width": 1})
    assert narrow.nodes["pad"].op == Pad((2, 0, 0), (5, 0, 0))
    assert SearchSpace.from_json(space.to_json()) == space


def test_channels_that_are_padded_have_the_same_order_on_both_sides() -> None:
    found = coupling(padded())
    assert found.groups["conv2.width"].nested == (Nested("stem.width", 2),)
    scores = {"stem.width": [0, 3, 1, 2], "conv2.width": [1, 2, 9, 9, 9, 9, 4, 3]}
    orders = found.orders(scores)
    assert orders["stem.width"] == [1, 3, 2, 0]
    assert orders["conv2.width"] == [6, 7, 3, 5, 4, 2, 1, 0]
    assert found.orders({})["conv2.width"] == [*range(8)]


def test_a_padding_that_copies_channels_lets_them_stay() -> None:
    graph = padded(before=1, behind=1, mode="edge")
    assert reasons(graph)["stem.width"] == "'pad' fills up with copies of them"


def test_channels_that_are_padded_to_others_that_stay_keep_their_order() -> None:
    graph = padded()
    graph.add("odd", _Odd(), "add")
    found = coupling(graph)
    assert found.groups["stem.width"].fixed.startswith("they are padded to 'conv2.width'")


def test_padded_channels_that_come_in_another_order_stay() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    x = graph.add("stem", Conv2d(4, 3))
    one = graph.add("one", Pad((0, 0, 0), (2, 0, 0)), x)
    other = graph.add("other", Pad((1, 0, 0), (1, 0, 0)), x)
    graph.add("add", Add(), one, other)
    graph.add("last", Conv2d(2, 1))
    assert "pads them in part or in another order" in reasons(graph)["stem.width"]
    assert "one.width" in reasons(graph)


def test_a_layer_that_reads_padded_channels_loses_them_with_the_padding() -> None:
    graph = Graph(Input("image", (3, 4, 4)))
    graph.add("stem", Conv2d(4, 3))
    graph.add("pad", Pad((0, 0, 0), (4, 0, 0)))
    graph.add("last", Conv2d(2, 1))
    made = slimmed(graph, shares=(0.5,))
    assert options(made) == {"stem.width": (2, 4), "pad.width": (4, 8)}
    assert made.resolve({"stem.width": 0, "pad.width": 0}).shapes()["pad"] == (4, 4, 4)


def fused() -> Graph:
    """Attention whose queries, keys and values are made by one layer."""
    graph = Graph(Input("tokens", (5, 6)))
    graph.add("norm", LayerNorm())
    graph.add("qkv", Linear(3 * 4 * 2))
    graph.add("cut", Reshape((5, 3, 4, 2)))
    graph.add("turn", Permute((1, 2, 0, 3)))
    for place, name in enumerate(("query", "key", "value")):
        graph.add(f"{name}.one", Slice(0, place, place + 1), "turn")
        graph.add(name, Reshape((4, 5, 2)))
    graph.add("scores", MatMul(transposed=True), "query", "key")
    graph.add("softmax", Softmax())
    graph.add("mix", MatMul(), "softmax", "value")
    graph.add("merge", MergeHeads())
    graph.add("out", Linear(3))
    return graph


def test_heads_of_fused_queries_keys_and_values_go_as_a_whole() -> None:
    found = coupling(fused())
    assert found.free == ["qkv.heads"]
    (written,) = (
        along for along in found.alongs if along.address == "qkv" and along.name == "bias"
    )
    assert written.parts == (Part("qkv.heads", 3, 4, 2),)
    made = slimmed(fused(), shares=(0.5,))
    assert options(made) == {"qkv.heads": (2, 4)}
    narrow = made.resolve({"qkv.heads": 0})
    assert narrow.nodes["qkv"].op == Linear(2, heads=2, sets=3)
    assert narrow.shapes()["cut"] == (5, 3, 2, 2)
    assert narrow.shapes()["out"] == (5, 3)


def test_channels_that_come_several_times_at_another_operator_stay() -> None:
    graph = Graph(Input("tokens", (3, 6)))
    x = graph.add("first", Linear(4))
    graph.add("both", Concat(2, axis=1), x, x)
    graph.add("last", Linear(2))
    assert "come 2 times" in reasons(graph)["first.width"]
