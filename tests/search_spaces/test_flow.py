"""Costs of the flow of a whole population equal those of each resolved network, walked slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.testing.network import SlowNetwork
from search_spaces.choice import choice
from search_spaces.costs import SpaceKernels
from search_spaces.flow import (
    Conversions,
    Crossings,
    Flow,
    FlowCost,
    LongestPath,
    PeakActivation,
    Tensors,
)
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.kernels import UNFUSED, Fusion, Kernel
from search_spaces.ops import (
    Activation,
    Add,
    Concat,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
    Reshape,
    Resize,
    deeper_than,
)
from search_spaces.policy import Policy
from search_spaces.quant import Quant, bits_of
from search_spaces.space import SearchSpace, as_genotypes
from tests.search_spaces.test_kernels import BLOCKS, BOTTLENECK
from tests.search_spaces.test_space import small_mobilenet, small_residual

POLICY = Policy(weight_bits=(8,), activation_bits=(4, 8), fineness="layer")


def branching() -> SearchSpace:
    """Two branches of elastic depth and kernel between a fork and an addition."""
    graph = Graph(Input("image", (2, 8, 8)))
    graph.add("resize", Resize(choice("resolution", (6, 8))))
    fork = graph.add("fork", Conv2d(choice("width", (4, 8)), 3, activation=Quant(Int(8))))
    ends: list[str] = []
    for side in ("left", "right"):
        end = fork
        for step in range(3):
            op = Conv2d(
                choice("width", (4, 8)),
                choice(f"{side}{step}.kernel", (1, 3)),
                activation=choice(f"{side}{step}.bits", (Quant(Int(4)), Quant(Int(8)), None)),
            )
            deep = deeper_than(choice(f"{side}.depth", (0, 1, 2, 3)), step)
            end = graph.add(f"{side}{step}", op, end, present=deep)
        ends.append(end)
    reads = choice("join.bits", (Quant(Int(4)), Quant(Int(8))))
    gated = choice("join", (False, True))
    graph.add("join", Add(activation=reads), *ends, present=gated)
    graph.add("late", Add(activation=reads), "join", "fork")
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("side", Linear(3, activation=reads), "flat")
    graph.add("head", Linear(3), "flat")
    graph.add("both", Concat(), "side", "head")
    return SearchSpace(graph)


SPACES = {
    "branching": branching(),
    "residual": small_residual(POLICY),
    "mobilenet": small_mobilenet(POLICY),
}
FUSIONS = {"unfused": UNFUSED, "chains": Fusion(BOTTLENECK), "blocks": Fusion(regions=BLOCKS)}


@pytest.fixture(params=SPACES.values(), ids=list(SPACES))
def space(request) -> SearchSpace:
    return request.param


@pytest.fixture(params=FUSIONS.values(), ids=list(FUSIONS))
def fusion(request) -> Fusion:
    return request.param


@pytest.fixture
def rows(space: SearchSpace) -> np.ndarray:
    return space.sample_array(np.random.default_rng(11), 40)


def width(kernel: Kernel) -> int:
    """The format of a test: the bits that the last operator reads, none where nothing runs."""
    return bits_of(kernel.ops[-1].activation) if executes(kernel) else 0


def time(kernel: Kernel) -> float:
    return 1.0 + math.sqrt(kernel.macs) if executes(kernel) else 0.0


def executes(kernel: Kernel) -> bool:
    return any(op.runs for op in kernel.ops)


def convert(elements, written, wanted):
    return 10.0 + elements * (written + wanted) / 64


def networks(space: SearchSpace, rows: np.ndarray, fusion: Fusion) -> list[SlowNetwork]:
    return [
        SlowNetwork(space.decode(genotype), fusion, width=width, time=time, convert=convert)
        for genotype in as_genotypes(rows)
    ]


def flow_of(space: SearchSpace, fusion: Fusion) -> tuple[Flow, Tensors]:
    flow = Flow(SpaceKernels(space, fusion))
    made = flow.kernels.distinct()
    elements = [0.0, *(float(math.prod(kernel.output)) for kernel in made)]
    bits = [0.0, *(float(width(kernel)) for kernel in made)]
    widths = np.array(bits)
    return flow, Tensors(np.array(elements), bits=widths, formats=widths)


def test_peak_activation(space, fusion, rows) -> None:
    flow, tensors = flow_of(space, fusion)
    found = FlowCost(space, PeakActivation(flow, tensors))(rows)
    assert found.tolist() == [network.peak() for network in networks(space, rows, fusion)]


@pytest.mark.parametrize("converting", [False, True])
def test_longest_path(space, fusion, rows, converting) -> None:
    flow, tensors = flow_of(space, fusion)
    costs = np.array([0.0, *map(time, flow.kernels.distinct())])
    crossings = Crossings(flow, tensors, convert=convert) if converting else None
    found = FlowCost(space, LongestPath(flow, costs, crossings))(rows)
    expected = [n.longest(converting=converting) for n in networks(space, rows, fusion)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_conversions(space, fusion, rows) -> None:
    flow, tensors = flow_of(space, fusion)
    found = FlowCost(space, Conversions(Crossings(flow, tensors, convert=convert)))(rows)
    expected = [network.conversions() for network in networks(space, rows, fusion)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_only_the_slots_that_are_meant_count() -> None:
    space = SPACES["branching"]
    rows = space.sample_array(np.random.default_rng(3), 200)
    flow, tensors = flow_of(space, UNFUSED)
    meant = [[False, False], *([isinstance(k.op, Add)] * 2 for k in flow.kernels.distinct())]
    refusing = Crossings(flow, tensors, convert=lambda e, *_: e + np.inf, slots=np.array(meant))
    found = FlowCost(space, Conversions(refusing))(rows)
    walked = [network.conversions(strict=[Add]) for network in networks(space, rows, UNFUSED)]
    assert np.isinf(found).tolist() == np.isinf(walked).tolist()
    assert set(found) == {0.0, math.inf}


def test_by_hand() -> None:
    graph = Graph(Input("image", (1, 4, 4)))
    graph.add("a", Conv2d(2, 3, activation=Quant(Int(8))))
    graph.add("b", Conv2d(2, 3, activation=Quant(Int(4))))
    graph.add("c", Activation("relu"), "a")
    graph.add("add", Add(activation=Quant(Int(8))), "b", "c")
    space = SearchSpace(graph)
    flow, tensors = flow_of(space, UNFUSED)
    none = np.zeros((3, 0), dtype=np.int64)
    # Beside a (32 bytes): b and c, 16 and 128 bytes, until both are added into 32 bytes.
    peak = FlowCost(space, PeakActivation(flow, tensors))(none)
    assert peak.tolist() == [32 + 16 + 128] * 3
    costs = np.array([0.0, 0.0, 5.0, 7.0, 9.0, 3.0])
    assert FlowCost(space, LongestPath(flow, costs))(none).tolist() == [5.0 + 9.0 + 3.0] * 3
    # a to 4 bits for b, to 32 for c; b and c to 8 for the addition.
    crossed = Crossings(flow, tensors, convert=convert)
    bits = (8 + 4) + (8 + 32) + (4 + 8) + (32 + 8)
    assert FlowCost(space, Conversions(crossed))(none).tolist() == [40.0 + 32 * bits / 64] * 3


def test_a_tensor_is_converted_once_for_readers_alike() -> None:
    graph = Graph(Input("image", (1, 4, 4)))
    graph.add("a", Conv2d(2, 3, activation=Quant(Int(8))))
    graph.add("b", Conv2d(2, 3, activation=Quant(Int(4))), "a")
    graph.add("c", Conv2d(2, 3, activation=Quant(Int(4))), "a")
    graph.add("d", Conv2d(2, 3, activation=Quant(Int(2))), "a")
    graph.add("e", Conv2d(2, 3, activation=Quant(Int(8))), "a")
    space = SearchSpace(graph)
    flow, tensors = flow_of(space, UNFUSED)
    crossed = Crossings(flow, tensors, convert=convert)
    found = FlowCost(space, Conversions(crossed))(np.zeros((1, 0), dtype=np.int64))
    assert found.tolist() == [2 * 10.0 + 32 * (8 + 4) / 64 + 32 * (8 + 2) / 64]


def test_a_view_is_the_tensor_that_it_views() -> None:
    """The readers of a view keep alive and convert what was written before it."""
    graph = Graph(Input("image", (1, 4, 4)))
    graph.add("a", Conv2d(2, 3, activation=Quant(Int(8))))
    graph.add("rows", Reshape((2, 16)), "a")
    graph.add("b", Linear(16, activation=Quant(Int(4))), "rows")
    graph.add("c", Linear(16, activation=Quant(Int(4))), "rows")
    graph.add("back", Reshape((2, 4, 4)), "c")
    graph.add("d", Add(activation=Quant(Int(8))), "a", "back")
    space = SearchSpace(graph)
    flow, tensors = flow_of(space, UNFUSED)
    only = np.zeros((1, 0), dtype=np.int64)
    # Of 32 bytes at 8 bits: a until it is added, c at 4 bits, and their sum; b is read by nobody.
    assert FlowCost(space, PeakActivation(flow, tensors))(only).tolist() == [32 + 16 + 32]
    crossed = Crossings(flow, tensors, convert=convert)
    found = FlowCost(space, Conversions(crossed))(only)
    assert found.tolist() == [2 * (10.0 + 32 * (8 + 4) / 64)]
    costs = np.array([0.0, *(float(executes(k)) for k in flow.kernels.distinct())])
    assert FlowCost(space, LongestPath(flow, costs))(only).tolist() == [1 + 1 + 1]


def test_chunks_do_not_show() -> None:
    space = SPACES["residual"]
    flow, tensors = flow_of(space, UNFUSED)
    cost = FlowCost(space, PeakActivation(flow, tensors))
    rows = space.sample_array(np.random.default_rng(0), 10_000)
    assert (cost(rows)[5_000:5_050] == cost(rows[5_000:5_050])).all()
