"""Picks are plain values, and spaces show themselves shortly."""

import numpy as np
import pytest

from search_spaces.choice import choice
from search_spaces.formats import Float, Int
from search_spaces.graph import Graph
from search_spaces.notebook import html_table
from search_spaces.ops import Input, deeper_than
from search_spaces.picks import plain_options
from search_spaces.quant import PerChannel, PerGroup, PerTensor, Quant
from search_spaces.space import InvalidGenotype, SearchSpace
from search_spaces.tabular import Pick


def layered() -> SearchSpace:
    graph = Graph(Input("x", (1,)))
    depth = choice("depth", (1, 2))
    for layer in range(2):
        bits = choice(f"bits{layer}", (Quant(Int(4)), Quant(Int(8)), None))
        there = deeper_than(depth, layer) if layer else True
        graph.add(f"layer{layer}", Pick(bits), present=there)
    graph.add("width", Pick(choice("width", (8, 16))))
    return SearchSpace(graph, name="layered")


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ((8, 16), [8, 16]),
        (("relu", "gelu"), ["relu", "gelu"]),
        ((True, False), [True, False]),
        ((Quant(Int(4)), Quant(Int(8)), None), [4, 8, "float"]),
        ((Quant(Float(4, 3)), Quant(Int(8))), ["e4m3", 8]),
        ((Quant(Int(8)), Quant(Int(8, symmetric=False))), ["int8-per-tensor", "uint8-per-tensor"]),
        (
            (Quant(Int(4), PerChannel()), Quant(Int(4), PerGroup(32))),
            ["int4-per-channel", "int4-per-group-32"],
        ),
        ((Quant(Int(4, choice("symmetric", (True, False)))), Quant(Int(8))), [4, 8]),
        ((Int(4), Int(8)), [4, 8]),
        ((PerTensor(), PerGroup(16)), ["per-tensor", "per-group-16"]),
        ((None, 3), [None, 3]),
    ],
)
def test_options_are_told_as_plain_values(options, plain):
    told = plain_options(options)
    assert told == plain
    assert list(map(type, told)) == list(map(type, plain))


def test_picks_name_open_choices_only_and_lead_back():
    space = layered()
    given = {"depth": 1, "bits0": 8, "width": 16}
    assert space.picks(space.genotype(given)) == given
    for genotype in map(tuple, space.every_row().tolist()):
        assert space.genotype(space.picks(genotype)) == genotype
        assert space.genotype(space.describe(genotype)) == genotype


def test_a_pick_that_is_no_option_is_refused_with_the_plain_options():
    with pytest.raises(InvalidGenotype, match=r"'bits0' has the options \[4, 8, 'float'\], .* 5"):
        layered().genotype({"bits0": 5})


def test_a_space_shows_itself_shortly():
    space = layered()
    assert repr(space) == f"<SearchSpace 'layered': 4 choices, {space.size} networks>"
    shown = space._repr_html_()
    assert "<td>bits0</td><td>4, 8, float</td>" in shown
    graph = Graph(Input("x", (1,)))
    for place in range(400):
        graph.add(f"part{place}", Pick(choice(f"part{place}", range(10))))
    assert repr(SearchSpace(graph, name="vast")).endswith("400 choices, 1.00e+400 networks>")


def test_picks_show_themselves_in_a_notebook():
    space = layered()
    shown = space.picks(space.sample(np.random.default_rng(0)))._repr_html_()
    assert "<td>width</td>" in shown


def test_a_table_escapes_all_texts():
    shown = html_table("<a>", ("<b>",), [("<c>",)])
    assert "&lt;a&gt;" in shown
    assert not {"<a>", "<b>", "<c>"} & {shown[i : i + 3] for i in range(len(shown))}
