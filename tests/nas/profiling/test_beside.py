"""What is read between two runs of a kernel, and that it takes no part in the times."""

from __future__ import annotations

import pytest

from nas.profiling.beside import Room, room_for, weights_of
from nas.profiling.timing import (
    LEAST_COLD,
    ROUNDS,
    Model,
    Reading,
    Timed,
    TimedKernel,
    time_kernels,
)
from nas.targets.numerics import Numerics, of_bits
from search_spaces.graph import Graph, Node
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Input, Linear
from search_spaces.space import SearchSpace
from tests.nas.profiling.kernels import FLOAT, INT8

LAYER = Kernel(Linear(100), (), ((80,),))  # 8,000 weights
SUM = Kernel(Activation("relu"), (), ((80,),))


@pytest.mark.parametrize(
    ("kernels", "network", "room"),
    [
        ([(LAYER, INT8)], 0, Room(4, 0)),
        ([(LAYER, INT8)], 100_000, Room(4, 100_000 - 32_000)),
        ([(LAYER, FLOAT)], 100_000, Room(4, 400_000 - 128_000)),
        ([(LAYER, FLOAT)], 20_000, Room(2, 80_000 - 64_000)),
        ([(LAYER, FLOAT)], 8_000, Room(2, 0)),
        ([(SUM, of_bits(None, 8))], 100_000, Room(4, 100_000)),
        ([(LAYER, Numerics("int4", "float"))], 100_000, Room(4, 50_000 - 16_000)),
        ([(LAYER, FLOAT), (LAYER, INT8)], 100_000, Room(4, 250_000 - 128_000 - 32_000)),
    ],
)
def test_copies_and_what_is_read_make_up_the_weights_of_the_network(
    kernels: list[tuple[Kernel, Numerics]], network: int, room: Room
) -> None:
    assert room_for(kernels, network, copies=(2, 4)) == room


def test_the_network_has_the_weights_and_biases_of_all_layers() -> None:
    graph = Graph()
    graph.append("x", Node(Input("x", (80,)), ()))
    graph.append("wide", Node(Linear(100), ("x",)))
    graph.append("head", Node(Linear(10), ("wide",)))
    assert weights_of(SearchSpace(graph)) == 80 * 100 + 100 + 100 * 10 + 10


def test_memory_is_read_before_every_run_that_counts_and_takes_no_time() -> None:
    events: list[str] = []

    class Noted(Reading):
        def __call__(self) -> float:
            events.append("read")
            return 1.5

    def run_ms() -> float:
        events.append("run")
        return 0.5

    timed = Timed(run_ms, Noted(8))
    warm = len(events)
    timed.repeat(0.0)
    assert events[warm:] == ["read", "run"] * LEAST_COLD
    timed.repeat(100.0)
    assert len(timed.samples_ms) == LEAST_COLD + 100 / (1.5 + 0.5)
    assert timed.quiet_ms == 0.5


def test_calls_without_a_kernel_are_timed_beside_the_same_reading() -> None:
    """A kernel of 3 ms in a call of 1 ms, where memory that is read adds 2 ms to every call."""
    asked: list[tuple[Model, bool]] = []

    def start(model: Model, before: Reading | None) -> Timed:
        asked.append((model, before is not None))
        times = {"empty1": 1.0, "empty2": 1.0, "kernel": 1.0 + 2 * 3.0}
        return Timed(lambda: times[str(model)] + 2.0 * (before is not None), before)

    empties = {"float32": {1: "empty1", 2: "empty2", 4: "empty4"}}
    jobs = {
        "cold": TimedKernel("kernel", 2, "float32", 0, beside=1_000),
        "warm": TimedKernel("kernel", 2, "float32", 0),
    }
    found = time_kernels(jobs, empties=empties, start=start, budget_ms=1.0)
    assert [found[name].latency_ms for name in jobs] == [3.0, 3.0]
    assert found["cold"].count >= LEAST_COLD * ROUNDS
    assert {model for model, _ in asked} == {"empty1", "empty2", "kernel"}
