import json
import math
from dataclasses import replace

import pytest

from nas.report.data import Provenance, TargetResult
from nas.report.layers import kernel_text, layer_policies
from nas.report.store import from_json, load, save, to_json
from search_spaces.documents import UnreadableFile
from tests.nas.report.sample import space, unfinished


def test_results_come_back_from_json_as_they_were(results):
    assert from_json(to_json(results)) == results


def test_a_kernel_of_unlike_sides_comes_back(results):
    chosen = results.targets[0].chosen
    layer = replace(chosen.layers[0], kernel=(3, 5))
    first = replace(results.targets[0], chosen=replace(chosen, layers=(layer,)))
    changed = replace(results, targets=(first,))
    assert from_json(to_json(changed)) == changed
    assert kernel_text(layer) == "3x5"


def test_unfinished_results_come_back_too(results):
    assert from_json(to_json(unfinished(results))) == unfinished(results)


def test_a_cost_that_cannot_be_paid_survives_in_strict_json(results):
    first = replace(results.targets[0], costs={"latency_ms": (math.inf, 1.5)})
    changed = replace(results, targets=(first,))
    text = to_json(changed)
    assert json.loads(text, parse_constant=pytest.fail)
    assert from_json(text) == changed


def test_results_are_saved_and_loaded(results, tmp_path):
    save(results, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == results
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1, column 2"),
        ('{"format": 2}', "results"),
        ('{"format": 2, "results": {"run": "x", "seed": "many"}}', "results.seed"),
    ],
)
def test_unreadable_results_say_where(text, said):
    with pytest.raises(UnreadableFile, match=said):
        from_json(text)


def test_another_format_is_refused(results):
    text = to_json(results).replace('"format": 2', '"format": 1', 1)
    with pytest.raises(UnreadableFile, match="format: must be 2, given 1"):
        from_json(text)


def test_a_target_needs_an_objective():
    with pytest.raises(ValueError, match="at least one objective"):
        TargetResult("t", Provenance("measured"), ())


def test_layers_of_a_graph_are_its_weighted_operators():
    made = space(2)
    graph = made.decode(made.largest)
    layers = {layer.address: layer for layer in layer_policies(graph)}
    shapes = graph.shapes()
    assert list(layers) == [
        address
        for address, node in graph.nodes.items()
        if type(node.op).__name__ in ("Conv2d", "DepthwiseConv2d", "Linear")
    ]
    depthwise = layers["stage0.block0.depthwise"]
    assert (depthwise.kernel, depthwise.weight, depthwise.activation) == (7, "int8", "float")
    assert depthwise.width == shapes["stage0.block0.depthwise"][0]
    assert layers["head"].kernel is None
    assert sum(layer.macs for layer in layers.values()) == sum(
        node.op.macs(*(shapes[read] for read in node.inputs)) for node in graph.nodes.values()
    )
