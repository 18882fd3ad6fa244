"""A format or a granularity that a device cannot run is refused, in a sentence."""

from __future__ import annotations

import pytest

from nas.targets import load_target
from search_spaces.formats import E4M3, Int
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, Input
from search_spaces.quant import PerGroup, PerTensor, Quant


def network(weight: Quant | None, activation: Quant | None = None) -> Graph:
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("conv", Conv2d(8, 3, weight=weight, activation=activation))
    return graph


GROUPED, FLOATING = Quant(Int(4), PerGroup(4)), Quant(E4M3)


@pytest.mark.parametrize("name", ["edge-npu", "bit-serial"])
def test_it_is_refused_by_every_device(name: str) -> None:
    capability = load_target(name).capability
    for quant, told in ((GROUPED, "PerGroup(size=4"), (FLOATING, "Float(exponent=4, mantissa=3)")):
        op = network(quant, Quant(Int(8), PerTensor())).nodes["conv"].op
        assert capability.container(op) is None
        assert told in capability.refusal(op)
