from itertools import combinations

import pytest

from nas.report.graph_figure import drawing, lanes
from nas.report.layers import drawn_nodes, layer_policies
from nas.report.subnets import DrawnNode
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual


@pytest.fixture(scope="module")
def graph():
    space = residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        widths=((4,), (8,)),
        depths=((2,),),
        policy=Policy(weight_bits=(4,), activation_bits=(8,)),
    )
    return space.decode(space.largest)


def test_inputs_layers_and_meeting_paths_are_drawn_and_all_else_is_passed_through(graph):
    nodes = drawn_nodes(graph)
    kinds = {node.operator for node in nodes}
    assert kinds == {"Input", "Conv2d", "Linear", "Add"}
    layers = {layer.address: layer for layer in layer_policies(graph)}
    weighted = {node.address: node for node in nodes if node.weight is not None}
    assert weighted.keys() == layers.keys()
    for address, node in weighted.items():
        told = (layers[address].weight, layers[address].activation)
        assert (node.weight, node.activation) == told
    places = {node.address: place for place, node in enumerate(nodes)}
    for node in nodes:
        assert all(places[read] < places[node.address] for read in node.reads)
        assert len(node.reads) == (
            0 if node.operator == "Input" else 2 if node.operator == "Add" else 1
        )


def test_edges_in_one_lane_never_share_a_line():
    edges = [(0, 5), (1, 3), (3, 5), (2, 9), (6, 8), (0, 2), (4, 7)]
    found = lanes(edges)
    assert found.keys() == {*edges}
    for one, other in combinations(edges, 2):
        if found[one] == found[other]:
            assert one[1] <= other[0] or other[1] <= one[0]
    assert max(found.values()) <= 4


def test_the_drawing_has_a_line_of_text_per_node_and_a_path_per_edge(graph):
    nodes = drawn_nodes(graph)
    shown = drawing(nodes)
    assert shown.count("<path") == sum(len(node.reads) for node in nodes)
    for node in nodes:
        assert f"{node.address}  {node.operator}" in shown
    bits = [name for node in nodes for name in (node.weight, node.activation) if name]
    assert shown.count('class="bits"') == len(bits)
    assert "<details" not in shown


def test_a_deep_network_is_folded_and_a_foreign_name_is_escaped():
    nodes = [DrawnNode(f"l{n}", "Conv2d", (f"l{n - 1}",) if n else ()) for n in range(60)]
    shown = drawing([*nodes, DrawnNode("<script>", "Linear", ("l59",), "int4", "e4m3")])
    assert "<details" in shown
    assert "<script>" not in shown
    assert ">4</text>" in shown
    assert ">e4m3</text>" in shown
    assert drawing([]) == ""
