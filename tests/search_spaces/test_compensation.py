"""Low-rank branches beside layers: present where their rank is above 0, with their costs."""

import pytest

from search_spaces.compensation import compensated
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
)
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import SearchSpace

FOUR = Quant(Int(4), PerChannel())


def _graph():
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("stem", Conv2d(8, 3, stride=2, weight=FOUR))
    graph.add("stem.norm", BatchNorm2d())
    graph.add("relu", Activation("relu"))
    graph.add("depth", DepthwiseConv2d(3, weight=FOUR))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("middle", Linear(6, weight=FOUR))
    graph.add("head", Linear(5, weight=FOUR))
    return graph


def test_rank_zero_is_the_graph_itself_and_others_add_two_layers():
    space = SearchSpace(compensated(_graph(), (0, 2, 4)))
    assert space.decode(space.smallest) == _graph()
    wide = space.decode(space.largest)
    added = {a: n for a, n in wide.nodes.items() if a not in _graph().nodes}
    assert {a: n.op for a, n in added.items() if not a.endswith("add")} == {
        "stem.rank.down": Conv2d(4, 3, stride=2),
        "stem.rank.up": Conv2d(8, 1),
        "middle.rank.down": Linear(4),
        "middle.rank.up": Linear(6),
    }
    assert added["stem.rank.add"].inputs == ("stem.norm", "stem.rank.up")
    assert wide.nodes["relu"].inputs == ("stem.rank.add",)


def test_branches_have_costs():
    space = SearchSpace(compensated(_graph(), (0, 2)))
    macs = [sum(_macs(space.decode(g))) for g in (space.smallest, space.largest)]
    assert macs[1] - macs[0] == 16 * (2 * 27 + 8 * 2) + (8 * 2 + 2 * 6)


def _macs(graph):
    shapes = graph.shapes()
    return [n.op.macs(*(shapes[a] for a in n.inputs)) for n in graph.nodes.values()]


def test_a_space_with_branches_is_saved_and_read():
    space = SearchSpace(compensated(_graph(), (0, 2, 4), layers=("middle",)))
    assert SearchSpace.from_json(space.to_json()).graph == space.graph
    assert [choice.name for choice in space.choices] == ["middle.rank"]


def test_a_single_rank_is_no_choice():
    space = SearchSpace(compensated(_graph(), (2,)))
    assert not space.choices
    assert "stem.rank.down" in space.graph.nodes


@pytest.mark.parametrize("ranks", [(), (0,), (4, 2), (2, 2), (-1, 3)])
def test_odd_ranks_are_refused(ranks):
    with pytest.raises(ValueError, match="ascending"):
        compensated(_graph(), ranks)


@pytest.mark.parametrize("layer", ["depth", "head", "pool", "midle"])
def test_layers_that_take_no_branch_are_refused(layer):
    with pytest.raises(ValueError, match="no low-rank branch"):
        compensated(_graph(), (0, 2), layers=(layer,))
