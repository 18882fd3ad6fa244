"""Costs of the flow of a whole population equal those of each resolved network, walked slowly."""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

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
from search_spaces.graph import Graph
from search_spaces.kernels import UNFUSED, Fusion, Kernel, groups, kernels
from search_spaces.ops import Activation, Add, Conv2d, GlobalPool, Image, Linear, deeper_than
from search_spaces.policy import Policy
from search_spaces.quant import Quant, bits_of
from search_spaces.space import SearchSpace, as_genotypes
from tests.search_spaces.test_kernels import BLOCKS, BOTTLENECK
from tests.search_spaces.test_space import small_mobilenet, small_residual

POLICY = Policy(weight_bits=(8,), activation_bits=(4, 8), fineness="layer")
STRICT = (Add,)


def branching() -> SearchSpace:
    """Two branches of elastic depth and kernel between a fork and an addition."""
    graph = Graph(Image(2, choice("resolution", (6, 8))))
    fork = graph.add("fork", Conv2d(choice("width", (4, 8)), 3, activation=Quant(8)))
    ends: list[str] = []
    for side in ("left", "right"):
        end = fork
        for step in range(3):
            op = Conv2d(
                choice("width", (4, 8)),
                choice(f"{side}{step}.kernel", (1, 3)),
                activation=choice(f"{side}{step}.bits", (Quant(4), Quant(8), None)),
            )
            deep = deeper_than(choice(f"{side}.depth", (0, 1, 2, 3)), step)
            end = graph.add(f"{side}{step}", op, end, present=deep)
        ends.append(end)
    reads = choice("join.bits", (Quant(4), Quant(8)))
    gated = choice("join", (False, True))
    graph.add("join", Add(activation=reads), *ends, present=gated)
    graph.add("late", Add(activation=reads), "join", "fork")
    graph.add("pool", GlobalPool())
    graph.add("head", Linear(3))
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
    """The format of a test: the bits that the last operator reads, none for the image."""
    return 0 if isinstance(kernel.op, Image) else bits_of(kernel.ops[-1].activation)


def time(kernel: Kernel) -> float:
    return 0.0 if isinstance(kernel.op, Image) else 1.0 + math.sqrt(kernel.macs)


def convert(elements, written, wanted):
    return 10.0 + elements * (written + wanted) / 64


def is_strict(kernel: Kernel, slot: int) -> bool:
    return any(
        isinstance(op, STRICT) and slot in reads
        for op, reads in zip(kernel.ops, kernel.slots, strict=True)
    )


class Network:
    """One resolved network as the tensors between its kernels."""

    def __init__(self, space: SearchSpace, genotype: tuple[int, ...], fusion: Fusion) -> None:
        graph = space.decode(genotype)
        self.kernels = dict(kernels(graph, fusion))
        self.reads = {group.members[-1]: group.reads for group in groups(graph, fusion)}
        self.order = list(self.kernels)

    def bits(self, address: str) -> int:
        """The format of a result; of the image the widest that a reader wants."""
        own = width(self.kernels[address])
        return own or max(width(self.kernels[r]) for r in self.order if address in self.reads[r])

    def peak(self) -> float:
        live: dict[str, float] = {}
        highest = 0.0
        for place, address in enumerate(self.order):
            elements = math.prod(self.kernels[address].output)
            live[address] = math.ceil(elements * self.bits(address) / 8)
            highest = max(highest, sum(live.values()))
            later = {read for other in self.order[place + 1 :] for read in self.reads[other]}
            live = {a: held for a, held in live.items() if a in later}
        return highest

    def delay(self, source: str, reader: str, slot: int, *, strict: bool) -> float:
        written, wanted = (width(self.kernels[address]) for address in (source, reader))
        if written in (0, wanted):
            return 0.0
        if strict and is_strict(self.kernels[reader], slot):
            return math.inf
        return convert(math.prod(self.kernels[source].output), written, wanted)

    def conversions(self, *, strict: bool) -> float:
        paid: dict[tuple[str, int], float] = {}
        for reader in self.order:
            for slot, source in enumerate(self.reads[reader]):
                key = source, width(self.kernels[reader])
                cost = self.delay(source, reader, slot, strict=strict)
                paid[key] = max(paid.get(key, 0.0), cost)
        return sum(paid.values())

    def longest(self, *, converting: bool) -> float:
        view: nx.DiGraph[str] = nx.DiGraph()
        for reader in self.order:
            view.add_edge("start", reader, weight=time(self.kernels[reader]))
            for slot, source in enumerate(self.reads[reader]):
                delay = self.delay(source, reader, slot, strict=False) if converting else 0.0
                known = view.get_edge_data(source, reader, {"weight": 0.0})["weight"]
                weight = time(self.kernels[reader]) + delay
                view.add_edge(source, reader, weight=max(known, weight))
        path = nx.dag_longest_path(view)
        return sum(view.edges[a, b]["weight"] for a, b in pairwise(path))


def networks(space: SearchSpace, rows: np.ndarray, fusion: Fusion) -> list[Network]:
    return [Network(space, genotype, fusion) for genotype in as_genotypes(rows)]


def flow_of(space: SearchSpace, fusion: Fusion) -> tuple[Flow, Tensors]:
    flow = Flow(SpaceKernels(space, fusion))
    made = flow.kernels.distinct()
    elements = [0.0, *(float(math.prod(kernel.output)) for kernel in made)]
    bits = [0.0, *(float(width(kernel)) for kernel in made)]
    return flow, Tensors(np.array(elements), np.array(bits))


def crossings(flow: Flow, tensors: Tensors, *, converting: bool, strict: bool) -> Crossings:
    made = flow.kernels.distinct()
    slots = max(len(kernel.inputs) for kernel in made)
    strict_slots = np.zeros((len(made) + 1, slots), dtype=np.bool_)
    if strict:
        strict_slots[1:] = [[is_strict(k, slot) for slot in range(slots)] for k in made]
    return Crossings(flow, tensors, convert=convert if converting else None, strict=strict_slots)


def test_peak_activation(space, fusion, rows) -> None:
    flow, tensors = flow_of(space, fusion)
    found = FlowCost(space, PeakActivation(flow, tensors))(rows)
    assert found.tolist() == [network.peak() for network in networks(space, rows, fusion)]


@pytest.mark.parametrize("converting", [False, True])
def test_longest_path(space, fusion, rows, converting) -> None:
    flow, tensors = flow_of(space, fusion)
    costs = np.array([0.0, *map(time, flow.kernels.distinct())])
    delays = crossings(flow, tensors, converting=True, strict=False) if converting else None
    found = FlowCost(space, LongestPath(flow, costs, delays))(rows)
    expected = [n.longest(converting=converting) for n in networks(space, rows, fusion)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("strict", [False, True])
def test_conversions(space, fusion, rows, strict) -> None:
    flow, tensors = flow_of(space, fusion)
    crossed = crossings(flow, tensors, converting=True, strict=strict)
    found = FlowCost(space, Conversions(crossed))(rows)
    expected = [n.conversions(strict=strict) for n in networks(space, rows, fusion)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_shared_formats_alone_refuse_and_cost_nothing() -> None:
    space = SPACES["branching"]
    rows = space.sample_array(np.random.default_rng(3), 200)
    flow, tensors = flow_of(space, UNFUSED)
    found = FlowCost(space, Conversions(crossings(flow, tensors, converting=False, strict=True)))
    walked = [n.conversions(strict=True) for n in networks(space, rows, UNFUSED)]
    assert np.isinf(found(rows)).tolist() == np.isinf(walked).tolist()
    assert set(found(rows)) == {0.0, math.inf}


def test_by_hand() -> None:
    graph = Graph(Image(1, 4))
    graph.add("a", Conv2d(2, 3, activation=Quant(8)))
    graph.add("b", Conv2d(2, 3, activation=Quant(4)))
    graph.add("c", Activation("relu"), "a")
    graph.add("add", Add(activation=Quant(8)), "b", "c")
    space = SearchSpace(graph)
    flow, tensors = flow_of(space, UNFUSED)
    none = np.zeros((3, 0), dtype=np.int64)
    # Beside a (32 bytes): b and c, 16 and 128 bytes, until both are added into 32 bytes.
    peak = FlowCost(space, PeakActivation(flow, tensors))(none)
    assert peak.tolist() == [32 + 16 + 128] * 3
    costs = np.array([0.0, 0.0, 5.0, 7.0, 9.0, 3.0])
    assert FlowCost(space, LongestPath(flow, costs))(none).tolist() == [5.0 + 9.0 + 3.0] * 3
    # a to 4 bits for b, to 32 for c; b and c to 8 for the addition.
    crossed = crossings(flow, tensors, converting=True, strict=False)
    bits = (8 + 4) + (8 + 32) + (4 + 8) + (32 + 8)
    assert FlowCost(space, Conversions(crossed))(none).tolist() == [40.0 + 32 * bits / 64] * 3


def test_a_tensor_is_converted_once_for_readers_alike() -> None:
    graph = Graph(Image(1, 4))
    graph.add("a", Conv2d(2, 3, activation=Quant(8)))
    graph.add("b", Conv2d(2, 3, activation=Quant(4)), "a")
    graph.add("c", Conv2d(2, 3, activation=Quant(4)), "a")
    graph.add("d", Conv2d(2, 3, activation=Quant(2)), "a")
    graph.add("e", Conv2d(2, 3, activation=Quant(8)), "a")
    space = SearchSpace(graph)
    flow, tensors = flow_of(space, UNFUSED)
    crossed = crossings(flow, tensors, converting=True, strict=False)
    found = FlowCost(space, Conversions(crossed))(np.zeros((1, 0), dtype=np.int64))
    assert found.tolist() == [2 * 10.0 + 32 * (8 + 4) / 64 + 32 * (8 + 2) / 64]


def test_chunks_do_not_show() -> None:
    space = SPACES["residual"]
    flow, tensors = flow_of(space, UNFUSED)
    cost = FlowCost(space, PeakActivation(flow, tensors))
    rows = space.sample_array(np.random.default_rng(0), 10_000)
    assert (cost(rows)[5_000:5_050] == cost(rows[5_000:5_050])).all()
