"""A small residual network with a choice of precisions, its float weights and its batches."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from nas.testing.rewrite import drawn_tensors
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from supernets.inputs import Inputs

SIDE = 8


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    policy = Policy(weight_bits=(2, 4, None), activation_bits=(4, 8, None), edge_bits=(8, None))
    return residual(
        (Input("image", (3, SIDE, SIDE)),),
        (5,),
        widths=((4,), (4, 6), (6,)),
        depths=((1, 2), (1,)),
        policy=policy,
    )


@pytest.fixture(scope="session")
def tensors(space: SearchSpace) -> dict[str, Tensor]:
    return drawn_tensors(space)


@pytest.fixture(scope="session")
def batches() -> Sequence[Inputs]:
    drawn = torch.Generator().manual_seed(3)
    return [{"image": torch.randn(8, 3, SIDE, SIDE, generator=drawn)} for _ in range(2)]
