"""A granularity that the engine does not know is refused by every part that meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from nas.export.size import onnx_bytes
from nas.export.stand_in import stand_in
from nas.export.statement import policy_json
from nas.targets import load_target
from predictors.proxies.rounding import rounded
from search_spaces.costs import model_bytes
from search_spaces.graph import Graph
from search_spaces.kernels import kernels
from search_spaces.ops import Conv2d, Image
from search_spaces.quant import Granularity, PerChannel, PerTensor, Quant
from search_spaces.space import SearchSpace
from supernets.quantizers import Quantizer
from supernets.supernet import Supernet


@dataclass(frozen=True)
class PerGroup(Granularity):
    """So many neighbouring inputs share a scale; the engine has no such granularity yet."""

    size: int


def network(weight: Quant | None, activation: Quant | None = None) -> Graph:
    graph = Graph(Image(3, 8))
    graph.add("conv", Conv2d(8, 3, weight=weight, activation=activation))
    return graph


GROUPED = Quant(4, PerGroup(4))
GRAPH = network(GROUPED)
(*_, (_, KERNEL)) = kernels(GRAPH)

PARTS: dict[str, Callable[[], object]] = {
    "the quantizer of a weight": lambda: Quantizer([GROUPED], 8),
    "the supernet": lambda: Supernet(SearchSpace(GRAPH), seed=0),
    "the supernet, of an input": lambda: Supernet(SearchSpace(network(None, GROUPED)), seed=0),
    "the size": lambda: model_bytes(KERNEL),
    "the size of a file": lambda: onnx_bytes(KERNEL),
    "the rehearsal": lambda: stand_in(GRAPH),
    "the statement in a file": lambda: policy_json(GRAPH),
    "the proxies": lambda: rounded(torch.randn(8, 3, 3, 3), GROUPED),
}


@pytest.mark.parametrize("part", PARTS)
def test_it_is_refused_by(part: str) -> None:
    with pytest.raises(ValueError, match=r"PerGroup\(size=4\).*PerTensor\(\) or PerChannel\(\)"):
        PARTS[part]()


def test_it_is_refused_by_every_device() -> None:
    for name in ("edge-npu", "bit-serial"):
        capability = load_target(name).capability
        assert capability.container(KERNEL.op) is None
        assert "PerGroup(size=4)" in capability.refusal(KERNEL.op)


def test_those_that_are_known_say_what_they_share() -> None:
    assert Quant(4, PerChannel()).per_channel
    assert not Quant(4, PerTensor()).per_channel
