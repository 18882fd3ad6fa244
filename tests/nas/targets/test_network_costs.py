"""What rules add to sums over kernels, worked out by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from nas.targets import HardwareTarget, load_target
from nas.targets.errors import TargetError
from nas.targets.legality import legal
from nas.targets.rules import Cast, Memory, Rules
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.kernels import UNFUSED
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Add, Conv2d, Flatten, GlobalPool, Input, LayerNorm, Linear, Reshape
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor, Quant
from search_spaces.space import SearchSpace

WEIGHT, WIDE, NARROW = Quant(Int(3), PerTensor()), Quant(Int(8)), Quant(Int(4))


def network(right: Quant = NARROW) -> Graph:
    """A fork of two convolutions, the right one at the given bits, joined by an addition."""
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("fork", Conv2d(16, 3, weight=WEIGHT, activation=WIDE))
    graph.add("left", Conv2d(16, 3, weight=WEIGHT, activation=WIDE), "fork")
    graph.add("right", Conv2d(16, 3, weight=WEIGHT, activation=right), "fork")
    graph.add("add", Add(activation=WIDE), "left", "right")
    graph.add("pool", GlobalPool(activation=WIDE))
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(10, weight=Quant(Int(8), PerChannel()), activation=WIDE))
    return graph


def device(**rules) -> HardwareTarget:
    return dataclasses.replace(load_target("edge-npu"), rules=Rules(**rules), fusion=UNFUSED)


def test_conversions_by_hand() -> None:
    plain = device().costs(network())["latency_ms"]
    cast = Cast(overhead_us=50.0, bandwidth_gb_per_s=0.001)
    converting = device(cast=cast).costs(network())["latency_ms"]
    elements = 16 * 8 * 8
    # The fork's 8 bits to 4 for the right side, and its 4 to 8 for the addition.
    moved = 2 * elements * (8 + 4) / 8
    assert converting - plain == pytest.approx(2 * 0.05 + moved / (0.001 * 1e6))
    assert device(cast=cast).costs(network(WIDE)) == device().costs(network(WIDE))


def test_a_view_needs_no_capability_and_costs_nothing() -> None:
    target, graph = device(), network()
    assert "Flatten" not in target.capability.supports
    costs = target.costs(graph)
    graph.add("again", Reshape((2, -1)))
    graph.add("back", Flatten())
    assert target.costs(graph) == costs


def test_an_operator_that_a_device_lacks_is_refused_by_name() -> None:
    graph = network()
    graph.add("norm", LayerNorm())
    assert math.isinf(load_target("microcontroller").costs(graph)["latency_ms"])
    with pytest.raises(TargetError, match="refuses node 'norm': LayerNorm is not among Activation"):
        legal(SearchSpace(graph), [load_target("microcontroller")])


def test_branches_that_run_at_once_by_hand() -> None:
    target, graph = device(), network()
    shapes = graph.shapes()
    time = {
        address: target.costs(_alone(graph, address, shapes))["latency_ms"]
        for address in ("left", "right")
    }
    summed, longest = (t.costs(graph)["latency_ms"] for t in (target, device(branches="max")))
    assert summed - longest == pytest.approx(min(time.values()))


def _alone(graph: Graph, address: str, shapes: dict[str, tuple[int, ...]]) -> Graph:
    """One node of a network, reading an image of the shape that it reads there."""
    node = graph.nodes[address]
    channels, size, _ = shapes[node.inputs[0]]
    alone = Graph(Input("image", (channels, size, size)))
    alone.add(address, node.op)
    return alone


def test_operands_of_unlike_formats_are_refused_by_all_costs() -> None:
    shared = device(same_format=frozenset({"Add"}))
    assert set(shared.costs(network()).values()) == {math.inf}
    assert shared.costs(network(WIDE)) == device().costs(network(WIDE))
    # Three bits compute in the container of four, so that formats may be alike all the same.
    graph = network(Quant(Int(8)))
    graph.nodes["add"] = dataclasses.replace(graph.nodes["add"], op=Add(activation=Quant(Int(3))))
    assert math.isfinite(shared.costs(graph)["latency_ms"])


def test_weights_are_stored_at_their_own_bits_or_the_containers() -> None:
    weights = 16 * 3 * 9 + 2 * 16 * 16 * 9
    head = 16 * 10
    rest = (3 * 16 + 10) * 4 + (3 + 10) * 4
    assert device().costs(network())["model_bytes"] == weights * 3 / 8 + head + rest
    # The container of 3 x 8 bits is 4 x 8, and that of 3 x 4 bits 4 x 4.
    assert device(packed=False).costs(network())["model_bytes"] == weights * 4 / 8 + head + rest


def test_full_precision_may_be_half_floats() -> None:
    graph = Graph(Input("image", (1, 4, 4)))
    graph.add("a", Conv2d(2, 3))
    graph.add("b", Conv2d(2, 3))
    half = device(full_precision_bits=16).costs(graph)
    full = device().costs(graph)
    assert full["model_bytes"] - half["model_bytes"] == (2 * 9 + 2 * 2 * 9) * 2
    assert full["peak_activation_bytes"] == 2 * half["peak_activation_bytes"] == 2 * (2 * 16) * 4


def test_peak_activation_by_hand() -> None:
    costs = device().costs(network())
    # While the right side runs: what it reads (8 bits), what the left gave, what it writes (4).
    # While the addition runs: both operands and what it writes.
    elements = 16 * 8 * 8
    assert costs["peak_activation_bytes"] == elements * (1 + 1 + 0.5)
    assert costs["memory_bytes"] == costs["model_bytes"] + costs["peak_activation_bytes"]


def test_a_table_of_whole_blocks() -> None:
    """A target that runs every block as one kernel moves nothing within blocks."""
    space = mobilenet(
        inputs=(Input("image", (3, 16, 16)),),
        output=(4,),
        stages=(Stage(8, 1), Stage(16, 2, squeeze_excite="choice")),
        depths=(1, 2),
        kernels=(3, 5),
        expansions=(2, 3),
        stem=8,
        head=16,
        policy=Policy(weight_bits=(4, 8), activation_bits=(8,)),
    )
    edge = load_target("edge-npu")
    regions = dataclasses.replace(edge.fusion, regions=("stage*.block*",))
    blocks = dataclasses.replace(edge, fusion=regions)
    rows = space.sample_array(np.random.default_rng(0), 50)
    whole, parts = blocks.compile(space), edge.compile(space)
    assert (whole["latency_ms"](rows) < parts["latency_ms"](rows)).all()
    assert (whole["peak_activation_bytes"](rows) <= parts["peak_activation_bytes"](rows)).all()
    np.testing.assert_array_equal(whole["model_bytes"](rows), parts["model_bytes"](rows))


def test_limits_name_only_what_the_device_has() -> None:
    assert device(memory=Memory(total_bytes=5.0)).limits == {"memory_bytes": 5.0}
    assert device(memory=Memory(ram_bytes=5.0)).limits == {"peak_activation_bytes": 5.0}
    assert device(memory=Memory(flash_bytes=5.0)).limits == {"model_bytes": 5.0}
