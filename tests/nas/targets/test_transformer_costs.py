"""Transformers on the shipped devices: which of them run one, and what attention is there."""

from __future__ import annotations

import numpy as np
import pytest

from nas.targets import load_target
from nas.targets.errors import TargetError
from nas.targets.legality import legal
from search_spaces.kernels import kernels
from search_spaces.ops import Input, MatMul, Softmax
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace
from search_spaces.transformer_encoder import transformer_encoder

ABLE, UNABLE = ["datacentre-gpu", "edge-npu"], ["microcontroller", "mobile-npu", "bit-serial"]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return transformer_encoder(
        (Input("image", (3, 16, 16)),),
        (5,),
        patch=4,
        widths=(32, 64),
        depths=(1, 2),
        heads=(2, 4),
        head_sizes=(8, 16),
        hidden=(64, 128),
        policy=Policy(weight_bits=(4, 8, None), activation_bits=(4, 8, None), fineness="layer"),
    )


@pytest.mark.parametrize("name", ABLE)
def test_costs_of_a_population_are_those_of_each_network(name: str, space: SearchSpace) -> None:
    target = load_target(name)
    made = legal(space, [target])
    genotypes = made.sample_array(np.random.default_rng(2), 12)
    compiled = {cost: found(genotypes) for cost, found in target.compile(made).items()}
    for row, genotype in enumerate(genotypes):
        walked = target.costs(made.decode(genotype))
        assert np.isfinite(list(walked.values())).all()
        for cost, value in walked.items():
            assert compiled[cost][row] == pytest.approx(value)
    small, large = (target.costs(made.decode(g)) for g in (made.smallest, made.largest))
    assert small["latency_ms"] < large["latency_ms"]


@pytest.mark.parametrize("name", UNABLE)
def test_a_device_without_the_operators_says_which(name: str, space: SearchSpace) -> None:
    with pytest.raises(TargetError, match="refuses node"):
        legal(space, [load_target(name)])


def test_attention_is_one_kernel_of_the_gpu_and_three_of_others(space: SearchSpace) -> None:
    graph = space.decode(space.smallest)
    found = {
        name: [
            [type(op) for op in kernel.ops]
            for _, kernel in kernels(graph, load_target(name).fusion)
            if any(isinstance(op, MatMul | Softmax) for op in kernel.ops)
        ]
        for name in ABLE
    }
    assert found["datacentre-gpu"] == [[MatMul, Softmax, MatMul]]
    assert found["edge-npu"] == [[MatMul], [Softmax], [MatMul]]
