"""What lies on the ways through a network, held against networkx walking every way."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.testing.searcher import chain
from predictors.features import OneHot
from predictors.gaussian import GaussianProcess
from predictors.ways import Ways
from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import Add, Input, deeper_than
from search_spaces.space import Genotype, SearchSpace
from search_spaces.tabular import Decision, Pick, add_cell, tabular_space

OPTIONS = ("none", "skip", "pool", "conv")
FOUR = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


def cell(ends: list[tuple[int, int]] = FOUR) -> SearchSpace:
    edges = [
        Decision(f"op{number}", OPTIONS, {}, edge=edge, cut=OPTIONS[:1])
        for number, edge in enumerate(ends)
    ]
    return tabular_space(edges, name="cell")


def walked(space: SearchSpace, genotype: Genotype) -> list[float]:
    """Every feature by definition: of each rank in use, at most, at least on a way; and ways."""
    graph = space.decode(genotype).digraph()
    passing = graph.subgraph([node for node, op in graph.nodes(data="op") if op.passes])
    ends = "input", list(graph)[-1]
    ways: list[list[str]] = []
    if ends[1] in passing:
        ways = list(nx.all_simple_paths(passing, *ends)) if ends[0] != ends[1] else [[ends[0]]]
    columns: list[list[float]] = [[], [], []]
    for rank in range(1, len(OPTIONS)):
        marked = {
            node
            for node, op in passing.nodes(data="op")
            if isinstance(op, Pick) and op.option in OPTIONS[rank:]
        }
        counts = [len(marked.intersection(way)) for way in ways]
        columns[0].append(len(marked & set().union(*ways)))
        columns[1].append(max(counts, default=-1))
        columns[2].append(min(counts, default=-1))
    return [*columns[0], *columns[1], *columns[2], len(ways)]


@st.composite
def wirings(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Cells of two to five nodes; every node is reached."""
    nodes = draw(st.integers(2, 5))
    needed = [(draw(st.integers(0, end - 1)), end) for end in range(1, nodes)]
    every = [(start, end) for end in range(1, nodes) for start in range(end)]
    return sorted({*needed, *draw(st.sets(st.sampled_from(every)))}, key=lambda edge: edge[1])


@given(wirings(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_the_columns_are_those_of_every_way_walked(ends: list[tuple[int, int]], seed: int) -> None:
    space = cell(ends)
    rows = space.sample_array(np.random.default_rng(seed), 20)
    expected = np.array([walked(space, tuple(row)) for row in rows.tolist()])
    ways = Ways(space)
    found = ways(rows)
    assert found.shape == (20, ways.columns)
    held = {tuple(column) for column in expected.T.tolist()}
    assert {tuple(column) for column in found.T.tolist()} <= held
    for column in expected.T[np.ptp(expected, axis=0) > 0]:
        assert (column == found.T).all(axis=1).any()


def test_what_leads_nowhere_does_not_count() -> None:
    space = cell()
    # Nothing leads from node 2 to the output, so what leads to node 2 is idle.
    idle = [(a, b, c, 3, 1, 0) for a in (1,) for b in range(4) for c in range(4)]
    found = Ways(space)(np.array(idle))
    assert (found == found[0]).all()
    assert not (found == Ways(space)(np.array([(1, 3, 3, 3, 1, 1)]))).all()


def test_an_absent_node_hands_on_its_first_input() -> None:
    depth = choice("depth", (1, 2))
    graph = Graph(Input("image", (3, 32, 32)))
    first = graph.add("first", Pick(choice("a", OPTIONS), cut=("none",)))
    graph.add("second", Pick(choice("b", OPTIONS), cut=("none",)), present=deeper_than(depth, 1))
    graph.add("sum", Add(), "second", first, present=deeper_than(depth, 1))
    graph.add("out", Pick(0))
    space = SearchSpace(graph)
    ways = Ways(space)

    def through(**picks: object) -> float:
        return float(ways(np.array([space.genotype(picks)]))[0, -1])

    assert through(depth=1, a="conv") == 1
    assert through(depth=2, a="conv", b="none") == 1
    assert through(depth=2, a="conv", b="conv") == 2
    assert through(depth=2, a="none", b="conv") == 0


def test_where_nothing_can_be_cut_there_are_no_columns() -> None:
    space = chain(depth=4)
    rows = space.sample_array(np.random.default_rng(0), 5)
    assert Ways(space)(rows).shape == (5, 0)
    assert cell([(0, 1)]).size == len(OPTIONS)
    table = tabular_space([Decision(f"width{i}", (8, 16, 32), {}) for i in range(4)], name="plain")
    assert Ways(table).columns == 0


def test_a_process_learns_from_them_what_picks_do_not_tell() -> None:
    space = cell()
    rng = np.random.default_rng(0)
    rows = np.unique(space.sample_array(rng, 460), axis=0)
    rows = rows[rng.permutation(len(rows))]
    loss = np.array([-walked(space, tuple(row))[5] for row in rows.tolist()])  # convs on a way
    learned, blind = OneHot(space), OneHot(space)
    blind.expansion[:, -Ways(space).columns :] = 0
    errors = []
    for features in (learned, blind):
        process = GaussianProcess(features)
        process.fit(rows[:60], loss[:60])
        errors.append(np.abs(process.predict(rows[60:])[0] - loss[60:]).mean())
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize(
    "ends", [[(1, 0)], [(1, 2)], [(0, 1), (0, 3)], [(-1, 1)], [(0, 1), (2, 3)]]
)
def test_edges_that_make_no_cell_are_told(ends: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="make no cell"):
        add_cell(Graph(Input("image", (3, 32, 32))), [(edge, Pick(0)) for edge in ends])
