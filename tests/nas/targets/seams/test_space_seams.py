"""The seams of a space: which kernels stand around a tensor, and the cost of a population."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest

from nas.targets import HardwareTarget, load_target
from nas.targets.errors import TargetError
from nas.targets.numerics import Numerics
from nas.targets.seams.seam import Seam
from nas.targets.seams.seam_cost import SeamCost
from nas.targets.seams.space_seams import SpaceSeams
from nas.targets.seams.table import Added, SeamTable
from nas.targets.target import space_kernels
from search_spaces.costs import FloatArray
from search_spaces.flow import FlowCost
from search_spaces.graph import Graph
from search_spaces.kernels import Kernel
from search_spaces.ops import Conv2d, Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from tests.nas.targets.test_network_costs import NARROW, WIDE, network

MIXED = residual(
    widths=((8, 16), (8, 16), (16, 24)),
    depths=((1, 2), (1, 2)),
    kernels=(3,),
    inputs=(Input("image", (3, 8, 8)),),
    output=(4,),
    policy=Policy(weight_bits=(4, None), activation_bits=(4, 8, None)),
)


@pytest.fixture(scope="module")
def this_cpu() -> HardwareTarget:
    return load_target("this-cpu")


def seams_of(space: SearchSpace, target: HardwareTarget) -> SpaceSeams:
    return SpaceSeams(
        space_kernels(space, target.fusion), target.numerics, in_floats=target.in_floats
    )


def nothing(kernel: Kernel, numerics: Numerics) -> float:
    """No kernel takes any time alone."""
    del kernel, numerics
    return 0.0


def figure(seam: Seam, elements: FloatArray) -> FloatArray:
    """A figure that no other seam and no other size has."""
    return np.where(elements > 0, zlib.crc32(str(seam).encode()) % 997 + elements / 1e3, 0.0)


def test_names_of_the_kernels_around_each_tensor(this_cpu: HardwareTarget) -> None:
    found = {str(seam) for seam in seams_of(SearchSpace(network(NARROW)), this_cpu).distinct()}
    assert found == {
        "Input -> Conv2d int8 of int8",
        "Conv2d int8 -> Conv2d int8 of int4 | Conv2d int8 of int8",
        "Conv2d int8 -> Add int8 of int8",
        "Add int8 -> GlobalPool int8 of int8",
        "GlobalPool int8 -> Linear int8 of int8",  # the view between them is no kernel
        "Linear int8 -> the output",
    }


def test_readers_in_one_format_make_another_seam_than_readers_in_two(
    this_cpu: HardwareTarget,
) -> None:
    one, two = (seams_of(SearchSpace(network(right)), this_cpu) for right in (WIDE, NARROW))
    assert Seam("Conv2d int8", ("Conv2d int8 of int8",) * 2) in one.distinct()
    assert Seam("Conv2d int8", ("Conv2d int8 of int8",) * 2) not in two.distinct()


def test_cost_of_a_population_is_the_sum_over_the_tensors_of_each_network(
    this_cpu: HardwareTarget,
) -> None:
    rows = MIXED.sample_array(np.random.default_rng(0), 12)
    compiled = FlowCost(MIXED, SeamCost(seams_of(MIXED, this_cpu), figure, alone=nothing))(rows)
    for row, cost in zip(rows, compiled, strict=True):
        single = SearchSpace(MIXED.decode(tuple(row.tolist())))
        assert cost == pytest.approx(sum(_figures(single, this_cpu)))
    assert len(np.unique(compiled)) > 1


def _figures(single: SearchSpace, target: HardwareTarget) -> list[float]:
    """The figure of every tensor of a network, which has one form at each address."""
    seams = seams_of(single, target)
    sizes = seams.flow.tables(_elements(seams))
    return [
        float(figure(seam, np.array([size.values.item()]))[0])
        for table, size in zip(seams.tables, sizes, strict=True)
        if (seam := seams.seams[table.values.item()]) is not None
    ]


def _elements(seams: SpaceSeams) -> FloatArray:
    kernels = seams.flow.kernels.distinct()
    return np.array([0.0, *(float(np.prod(kernel.output)) for kernel in kernels)])


def test_every_seam_of_a_space_has_tensors_of_its_own_kind(this_cpu: HardwareTarget) -> None:
    seams = seams_of(MIXED, this_cpu)
    assert {tensor.seam for tensor in seams.tensors()} == set(seams.distinct())


def test_a_convolution_that_falls_back_costs_what_it_costs_in_floats(
    this_cpu: HardwareTarget,
) -> None:
    def alone(kernel: Kernel, numerics: Numerics) -> float:
        return kernel.macs * (1.0 if numerics.on_integers else 3.0)

    found = {}
    for right in (WIDE, NARROW):
        space = SearchSpace(network(right))
        cost = SeamCost(seams_of(space, this_cpu), lambda seam, n: 0 * n, alone=alone)
        found[right] = FlowCost(space, cost)(np.zeros((1, 0), np.int64)).item()
    assert found == {WIDE: 0.0, NARROW: 2.0 * 16 * 3 * 9 * 64}  # the fork, which both sides read


def test_what_two_seams_of_a_kernel_save_counts_once(this_cpu: HardwareTarget) -> None:
    graph = Graph(Input("image", (3, 8, 8)))
    for name in ("one", "two", "three"):
        graph.add(name, Conv2d(4, 3))
    space = SearchSpace(graph)

    def cost(slow: int, **added: float) -> float:
        """The cost of the seams, in which the kernel that reads `slow` channels is slow alone."""
        seams = seams_of(space, this_cpu)
        figures = {seam: added[seam.writer.split()[0]] for seam in seams.distinct()}

        def alone(kernel: Kernel, numerics: Numerics) -> float:
            del numerics
            return 1.0 if kernel.inputs[0][0] == slow else 0.0

        priced = SeamCost(seams, lambda seam, n: 0 * n + figures[seam], alone=alone)
        return FlowCost(space, priced)(np.zeros((1, 0), np.int64)).item()

    # The seams are that of the input, of two convolutions between others, and of the output.
    assert cost(3, Input=2.0, Conv2d=0.5) == pytest.approx(2.0 + 3 * 0.5)
    assert cost(3, Input=-2.0, Conv2d=-0.5) == pytest.approx(-2.0)  # all of the first one
    assert cost(4, Input=1.0, Conv2d=-0.5) == pytest.approx(1.0 - 2 * 0.5)  # half, half, whole


def test_seams_add_to_the_latency_and_to_nothing_else() -> None:
    target, space = load_target("edge-npu"), SearchSpace(network(WIDE))
    seams = seams_of(space, target).distinct()
    table = SeamTable({seam: {1: Added(0.25, 0.0, 9)} for seam in seams})
    plain = target.costs(network(WIDE))
    seamed = dataclasses.replace(target, seams=table).costs(network(WIDE))
    there = _figures(space, target)
    assert seamed["latency_ms"] - plain["latency_ms"] == pytest.approx(0.25 * len(there))
    assert {**seamed, "latency_ms": 0} == {**plain, "latency_ms": 0}


def test_a_seam_without_a_row_is_refused_by_name() -> None:
    target = dataclasses.replace(load_target("edge-npu"), seams=SeamTable({}))
    with pytest.raises(TargetError, match=r"no row for \d+ kinds of tensors(.|\n)*-> the output"):
        target.costs(network())
    assert "nas profile" in str(target.lacking(SearchSpace(network())))
