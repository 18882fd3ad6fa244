"""Operator graphs, subtrees in them, and the predictors that learn from both."""

import itertools
import re
from collections import Counter

import networkx as nx
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from nas.testing.predictor import PredictorContract, loss_of
from nas.testing.searcher import chain
from predictors.gaussian import Reach
from predictors.graph_embedding import GraphEmbedding, graph_embedding
from predictors.graph_network import GraphNetwork
from predictors.operator_graph import OperatorGraph
from predictors.rank import kendall_tau
from predictors.similarity import Similarity
from predictors.subtrees import Subtrees
from predictors.weisfeiler_lehman import SubtreeProcess, weisfeiler_lehman
from search_spaces.ops import Input
from search_spaces.residual import residual
from search_spaces.tabular import Decision, tabular_space

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def cell():
    """The cells of NAS-Bench-201 with three operators."""
    return tabular_space(
        [
            Decision(f"edge{i}", ("none", "skip", "conv"), {}, ends, ("none",))
            for i, ends in enumerate(EDGES)
        ],
        name="cell",
    )


def blocks():
    """Residual networks with elastic widths and depths."""
    image = (Input("image", (3, 8, 8)),)
    return residual(image, (10,), widths=((4, 8), (4, 8), (8, 16)), depths=((1, 2), (1, 2)))


def plain_graph(space, genotype):
    """The operator graph of a network without directions."""
    return nx.Graph(directed_graph(space, genotype))


def directed_graph(space, genotype):
    """The operator graph of a network, built by networkx without the code under test."""
    made = space.decode(genotype)
    view = made.digraph()
    view.remove_nodes_from([address for address, node in made.nodes.items() if not node.op.passes])
    ends = [address for address in (next(iter(made.nodes)), made.output) if address in view]
    if len(ends) < 2 or not nx.has_path(view, *ends):
        return nx.DiGraph()
    kept = (nx.descendants(view, ends[0]) & nx.ancestors(view, ends[1])) | {*ends}
    view = view.subgraph(kept).copy()
    for address in list(view):
        if made.nodes[address].op.sums:
            reads, readers = list(view.predecessors(address)), list(view.successors(address))
            view.remove_node(address)
            view.add_edges_from((read, reader) for read in reads for reader in readers)
    for address, node in view.nodes.items():
        form = re.sub(r"Choice\(name='[^']*'", "Choice(", repr(space.graph.nodes[address].op))
        node["label"] = form + repr(node["op"])
    return view


def subtrees_of(graph):
    """For each height, how often each subtree stands in a graph."""
    hashes = nx.weisfeiler_lehman_subgraph_hashes(
        graph, node_attr="label", iterations=2, include_initial_labels=True
    )
    return [Counter(found[height] for found in hashes.values()) for height in range(3)]


@pytest.mark.parametrize("space", [cell(), chain(depth=3), blocks()], ids=lambda s: s.name)
def test_subtrees_are_those_of_networkx(space):
    rows = space.sample_array(np.random.default_rng(0), 40)
    references = [subtrees_of(plain_graph(space, tuple(row))) for row in rows.tolist()]
    for height, listed in enumerate(Subtrees(space)(rows)):
        known = np.unique(listed.label)
        counts = listed.counts(known)
        labels = sorted(set().union(*(found[height] for found in references)))
        expected = np.array([[found[height][label] for label in labels] for found in references])
        np.testing.assert_array_equal((counts @ counts.T).toarray(), expected @ expected.T)
        np.testing.assert_array_equal(listed.squares, (expected**2).sum(axis=1))


def test_cells_with_equal_graphs_have_equal_subtrees():
    space = cell()
    named = {"none": 0, "skip": 1, "conv": 2}
    alike = [  # a convolution through node 1 or through node 2; a dead one changes nothing
        ["conv", "none", "none", "none", "conv", "none"],
        ["none", "conv", "none", "none", "none", "conv"],
        ["conv", "none", "conv", "none", "conv", "none"],
    ]
    rows = np.array([[named[name] for name in one] for one in alike])
    graphs = OperatorGraph(space)(rows)
    assert graphs.vertex.sum(axis=0).tolist() == [3, 3, 3]
    for listed in Subtrees(space)(rows):
        counts = listed.counts(np.unique(listed.label)).toarray()
        np.testing.assert_array_equal(counts[1:], counts[:1].repeat(2, axis=0))


class TestWeisfeilerLehman(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return weisfeiler_lehman(space)


def measured_and_others(space):
    rows = np.unique(space.sample_array(np.random.default_rng(0), 90), axis=0)
    return np.split(np.random.default_rng(1).permutation(rows), [40])


def test_the_process_predicts_as_its_kernel_says():
    space = cell()
    rows, others = measured_and_others(space)
    losses = loss_of(rows)
    similarity = Similarity(space)
    process = SubtreeProcess(similarity)
    process.fit(rows, losses)
    at = np.random.default_rng(1).normal(0, 0.3, 3 + similarity.groups + 2)
    trend, noise = 0.7, 0.05
    at[-2:] = np.log([trend, noise])
    y = (losses - losses.mean()) / losses.std()
    process._settle(rows, y, at)

    similarity.hold(rows)
    products, squares = similarity(np.concatenate([rows, others]))
    near = np.tensordot(process.weights(at), products, 1)
    squares = process.weights(at) @ squares
    far = np.add.outer(squares, squares[:40]) - 2 * near
    centred = near - near[:40].mean(0) - near.mean(1)[:, None] + near[:40].mean()
    kernel = np.exp(-far) + trend * centred
    known, across = np.split(kernel, [40])
    inverse = np.linalg.inv(known + noise * (1 + trend * np.diag(centred).mean()) * np.eye(40))
    level = (inverse @ y).sum() / inverse.sum()
    expected = losses.mean() + losses.std() * (level + across @ inverse @ (y - level))
    np.testing.assert_allclose(process.predict(others)[0], expected, rtol=1e-4)


def test_many_measurements_are_told_by_some_of_them():
    space = chain(depth=6)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 400), axis=0)
    process = SubtreeProcess(Similarity(space), reach=Reach(tuned=40, exact=60))
    process.fit(rows[:300], loss_of(rows[:300]))
    assert kendall_tau(process.predict(rows[300:])[0], loss_of(rows[300:])) > 0.8


class TestGraphEmbedding(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return graph_embedding(space)


def test_the_embedding_keeps_distances_where_it_has_room():
    space = chain(depth=2)
    similarity = Similarity(space)
    reference = np.unique(space.sample_array(np.random.default_rng(3), 256), axis=0)
    every = similarity.hold(reference)
    scale = [pdist(_points_of(products), "sqeuclidean").mean() for products in every]
    count, rows = len(reference), reference[:12]
    total = sum(
        products / (mean * (count - 1) / count)
        for products, mean in zip(similarity.hold(rows), scale, strict=True)
    )
    placed = GraphEmbedding(space, size=count, seed=3)(rows)
    np.testing.assert_allclose(pdist(placed), pdist(_points_of(total)), rtol=1e-3)
    small = GraphEmbedding(space, size=4, seed=3)(rows)
    assert small.shape == (len(rows), 4)
    assert (pdist(small) <= pdist(placed) + 1e-4).all()


def _points_of(products):
    """Points with these scalar products."""
    values, vectors = np.linalg.eigh(products)
    return vectors * np.sqrt(np.maximum(values, 0))


def test_the_embedding_orders_pairs_as_their_edit_distances():
    space = cell()
    rows = np.unique(space.sample_array(np.random.default_rng(5), 12), axis=0)
    graphs = [plain_graph(space, tuple(row)) for row in rows.tolist()]
    edits = [
        nx.graph_edit_distance(a, b, node_match=lambda one, other: one["label"] == other["label"])
        for a, b in itertools.combinations(graphs, 2)
    ]
    assert kendall_tau(pdist(GraphEmbedding(space)(rows)).astype(float), np.array(edits)) > 0.3


@pytest.mark.slow
class TestGraphNetwork(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return GraphNetwork(space)


def test_the_graph_network_is_blind_to_what_networkx_calls_equal():
    space = cell()
    rows = np.unique(space.sample_array(np.random.default_rng(0), 24), axis=0)
    network = GraphNetwork(space, steps=3)
    network.fit(rows[:12], loss_of(rows[:12]))
    mean, _ = network.predict(rows)
    assert len(set(mean.round(6))) > 8
    graphs = [directed_graph(space, tuple(row)) for row in rows.tolist()]
    equal = [
        (i, j)
        for (i, a), (j, b) in itertools.combinations(enumerate(graphs), 2)
        if nx.is_isomorphic(a, b, node_match=lambda one, other: one["label"] == other["label"])
    ]
    assert equal
    for i, j in equal:
        assert mean[i] == pytest.approx(mean[j], abs=1e-4)
