"""Property tests of the language: random small graphs, every rule against brute force."""

import itertools
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.testing.space import count_by_enumeration
from search_spaces.choice import Choice, choice, choices_in, derived, resolve, variants
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
    Resize,
    deeper_than,
    scaled,
)
from search_spaces.quant import PerChannel, PerTensor, Quant, precision
from search_spaces.space import SearchSpace


@st.composite
def spaces(draw) -> SearchSpace:
    """Chains of convolutions with shared widths, depths, nested precisions and conditions."""
    graph = Graph(Input("image", (2, 8, 8)))
    graph.add("resize", Resize(choice("resolution", draw(st.sampled_from([(8,), (6, 8)])))))
    layers = draw(st.integers(1, 3))
    symmetries = draw(st.sampled_from([(True,), (True, False)]))
    depth = choice("depth", tuple(range(1, layers + 1)))
    graph.add("stem", Conv2d(choice("width", (2, 4)), 3))
    for position in range(layers):
        name = draw(st.sampled_from(["shared", f"layer{position}"]))
        weight = precision(
            f"{name}.weight",
            (2, None),
            granularities=(PerTensor(), PerChannel()),
            symmetries=symmetries,
        )
        kernel = choice(f"layer{position}.kernel", draw(st.sampled_from([(3,), (1, 3)])))
        reached = deeper_than(depth, position) if position else True
        graph.add(f"layer{position}", Conv2d(choice("width", (2, 4)), kernel), present=reached)
        if draw(st.booleans()):
            gated = choice(f"layer{position}.gate", (False, True))
            op = Conv2d(choice("width", (2, 4)), 1, weight=weight)
            graph.add(f"layer{position}.gate", op, present=(reached, gated))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(3))
    return SearchSpace(graph)


@settings(max_examples=25, deadline=None)
@given(spaces())
def test_size_is_the_number_of_distinct_networks(space):
    assume(np.prod(space.counts) < 2000)
    every = [*itertools.product(*(range(count) for count in space.counts))]
    networks = {repr(space.decode(genotype).nodes) for genotype in every}
    assert space.size == count_by_enumeration(space) == len(networks)


@settings(max_examples=25, deadline=None)
@given(spaces(), st.randoms(use_true_random=False))
def test_equal_networks_have_equal_canonical_genotypes(space, random):
    one = tuple(random.randrange(int(count)) for count in space.counts)
    other = tuple(random.randrange(int(count)) for count in space.counts)
    assert (space.decode(one) == space.decode(other)) == (
        space.canonical(one) == space.canonical(other)
    )


@settings(max_examples=20, deadline=None)
@given(spaces())
def test_json_round_trip(space):
    assert SearchSpace.from_json(space.to_json()) == space


def test_a_single_option_is_no_choice():
    assert choice("width", (8,)) == 8


@pytest.mark.parametrize("options", [(), (8, 8)])
def test_useless_options_are_refused(options):
    with pytest.raises(ValueError, match="width"):
        choice("width", options)


def test_derived_is_computed_at_once_without_placeholders():
    assert scaled(16, 1.5) == 24
    placeholder = scaled(16, choice("ratio", (1.0, 1.5)))
    assert [resolve(placeholder, {"ratio": i}) for i in (0, 1)] == [16, 24]


def test_derived_refuses_keywords():
    @derived
    def double(value):
        return 2 * value

    with pytest.raises(TypeError, match="positional"):
        double(value=choice("x", (1, 2)))


def test_variants_are_distinct_and_ascend():
    tensor = precision("w", (2, 4, None), granularities=(PerTensor(), PerChannel()))
    assert [*variants(tensor)] == [
        Quant(Int(2), PerTensor()),
        Quant(Int(2), PerChannel()),
        Quant(Int(4), PerTensor()),
        Quant(Int(4), PerChannel()),
        None,
    ]


def test_choices_are_met_outer_before_inner():
    tensor = precision("w", (2, 4), granularities=(PerTensor(), PerChannel()))
    assert [c.name for c in choices_in(tensor)][:2] == ["w.bits", "w.granularity"]


@pytest.mark.parametrize(("symmetric", "expected"), [(True, (-7, 7)), (False, (0, 15))])
def test_code_range(symmetric, expected):
    assert Int(4, symmetric).range == expected


@pytest.mark.parametrize("bits", [1, 9, 32])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match="None in place"):
        Quant(Int(bits))


def chain() -> Graph:
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("conv", Conv2d(4, 3, 2))
    graph.add("norm", BatchNorm2d())
    graph.add("relu", Activation("relu"))
    graph.add("tail", Conv2d(4, 1))
    return graph


def test_the_networkx_view_has_the_same_edges():
    view = chain().digraph()
    assert [*nx.topological_sort(view)] == ["input", "conv", "norm", "relu", "tail"]
    assert view.nodes["conv"]["op"] == Conv2d(4, 3, 2)


def test_addresses_are_distinct_and_known():
    graph = chain()
    with pytest.raises(ValueError, match="already has"):
        graph.add("conv", Activation("relu"))
    with pytest.raises(ValueError, match="not in the graph"):
        graph.add("new", Activation("relu"), "nowhere")


def test_equal_choices_are_equal_by_value():
    assert Choice("a", (1, 2)) == Choice("a", (1, 2)) != Choice("a", (1, 3))
    assert SimpleNamespace(c=Choice("a", (1,))).c.options == (1,)
