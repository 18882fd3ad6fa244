"""The formats to choose from are those in which some target computes."""

import pytest

from nas.export.forms import FORMS
from nas.own.formats import opening_for
from nas.targets import load_target
from search_spaces.formats import BFLOAT16, FLOAT16
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, Embedding, Flatten, Input, Linear


def opening(*targets, costs=("latency_ms",), alone=(), table=False, forms=()):
    graph = Graph(Input("tokens", (4,), "int64") if table else Input("x", (3, 8, 8)))
    if table:
        graph.add("table", Embedding(9, 4))
    else:
        graph.add("conv", Conv2d(4, 3))
    graph.add("flat", Flatten())
    graph.add("head", Linear(5))
    devices = [load_target(name, elsewhere=True) for name in targets]
    held = [FORMS[name] for name in forms]
    return opening_for(graph, devices, costs=costs, alone=alone, forms=held)


@pytest.mark.parametrize(
    ("targets", "weights", "activations"),
    [
        (["edge-npu"], (4, 8, None), (4, 8, None)),
        (["microcontroller"], (8, None), (8, None)),
        (["bit-serial"], (2, 3, 4, 5, 6, 7, 8, None), (2, 3, 4, 5, 6, 7, 8, None)),
        (["edge-npu", "tiny-mcu"], (2, 4, 8, None), (4, 8, None)),
    ],
)
def test_formats_are_those_of_some_target(targets, weights, activations):
    made = opening(*targets)
    assert (made.weights, made.activations) == (weights, activations)
    assert made.others == (8, None)


def test_floats_of_16_bits_are_offered_where_a_device_has_them():
    here = opening("this-cpu")  # holds them, and multiplies in float32
    assert here.weights[-4:] == (8, FLOAT16, BFLOAT16, None)
    assert (here.activations, here.others) == ((8, None), (8, None))
    gpu = opening("datacentre-gpu")  # its full precision is float16
    assert gpu.weights == gpu.activations == (4, 8, FLOAT16, None)
    assert gpu.others == (8, FLOAT16, None)
    assert opening("edge-npu", "datacentre-gpu").weights == (4, 8, FLOAT16, None)


def test_formats_of_operators_that_the_network_lacks_are_left_out():
    halves = (FLOAT16, BFLOAT16)
    assert opening("this-cpu").weights == (4, 7, 8, *halves, None)
    assert opening("this-cpu", table=True).weights == (2, 4, 7, 8, *halves, None)


@pytest.mark.parametrize("form", ["torch", "torch-export", "openvino", "executorch"])
def test_floats_of_16_bits_are_not_offered_where_a_form_cannot_hold_them(form):
    made = opening("datacentre-gpu", forms=("onnx", form))
    assert made.weights == made.activations == (4, 8, None)
    assert made.others == (8, None)
    assert FLOAT16 in opening("datacentre-gpu", forms=("onnx",)).weights


def test_a_cost_of_bits_opens_all_usual_numbers_of_bits():
    for cost in ("model_bytes", "bitops", "energy_mj"):
        assert opening("microcontroller", costs=(cost,)).weights == (2, 3, 4, 5, 6, 8, None)
    assert opening().weights == (2, 3, 4, 5, 6, 8, None)


def test_layers_stay_alone():
    assert opening("edge-npu", alone=["head"]).alone == ("head",)
