"""A format or a granularity that a part cannot handle is refused by this part, in a sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nas.targets import load_target
from predictors.proxies.rounding import rounded
from search_spaces.formats import E4M3, Int
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, Input
from search_spaces.quant import PerGroup, PerTensor, Quant


def network(weight: Quant | None, activation: Quant | None = None) -> Graph:
    graph = Graph(Input("image", (4, 8, 8)))
    graph.add("conv", Conv2d(8, 3, weight=weight, activation=activation))
    return graph


GROUPED, FLOATING = Quant(Int(4), PerGroup(4)), Quant(E4M3)
TOLD = {
    GROUPED: r"PerGroup\(size=4.*PerTensor\(\) or PerChannel\(\)",
    FLOATING: r"e4m3 is not known here.*Int\(bits\)",
}
PARTS: dict[str, Callable[[Quant], object]] = {
    "the proxies": lambda q: rounded(torch.randn(8, 4, 3, 3), q),
}


@pytest.mark.parametrize("quant", TOLD, ids=["grouped", "floating"])
@pytest.mark.parametrize("part", PARTS)
def test_it_is_refused_by(part: str, quant: Quant) -> None:
    with pytest.raises(ValueError, match=TOLD[quant]):
        PARTS[part](quant)


@pytest.mark.parametrize("name", ["edge-npu", "bit-serial"])
def test_it_is_refused_by_every_device(name: str) -> None:
    capability = load_target(name).capability
    for quant, told in ((GROUPED, "PerGroup(size=4"), (FLOATING, "Float(exponent=4, mantissa=3)")):
        op = network(quant, Quant(Int(8), PerTensor())).nodes["conv"].op
        assert capability.container(op) is None
        assert told in capability.refusal(op)
