"""Supernets with first steps, one per family, shared by the tests of this package."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.supernet import Supernet
from tests.supernets.spaces import SIDE, SPACES


@pytest.fixture(scope="session")
def images() -> Tensor:
    return torch.randn(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def made(space: SearchSpace, images: Tensor) -> Supernet:
    """A supernet whose norms differ from the identity, some factors negative, one zero."""
    supernet = Supernet(space, seed=1)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in supernet.named_parameters():
        if name.endswith(("tensors.scale", "tensors.shift", "tensors.bias")):
            parameter.data = torch.randn(parameter.shape, generator=generator)
    supernet.node("stem.norm").tensors["scale"].data[0] = 0.0
    initialise_steps(supernet, [images])
    return supernet


@pytest.fixture(scope="session", params=list(SPACES))
def supernet(request: pytest.FixtureRequest, images: Tensor) -> Supernet:
    return made(SPACES[request.param], images)
