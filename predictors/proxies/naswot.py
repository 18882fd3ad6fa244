"""NASWOT: how differently the nonlinearities fire for the images of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from predictors.proxies.proxy import (
    AS_TRAINED,
    NONLINEARITIES,
    Batch,
    Function,
    Loss,
    Proxy,
    probe,
)


def naswot(module: nn.Module, batch: Batch, _loss: Loss) -> Mapping[str, float]:
    """`naswot`: log |det K|, where K[i, j] counts the units that fire alike for images i and j.

    A unit is an input of a nonlinearity and fires where that is positive, which is the published
    code for ReLU and carries over to others. Minus infinity where two images have one code, or
    where there is no nonlinearity. Mellor et al. 2021.
    """
    images = batch[0]
    alike: list[Tensor] = []

    def recording(function: Function) -> Function:
        def recorded(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            alike.append(_agreement(x.detach()))
            return function(x, *args, **kwargs)

        return recorded

    routes = {function: recording(function) for function in NONLINEARITIES}
    with probe(module, {**AS_TRAINED, **routes}) as network, torch.no_grad():
        network(images)
    if not alike:
        return {"naswot": -math.inf}
    return {"naswot": float(torch.linalg.slogdet(torch.stack(alike).sum(0)).logabsdet)}


def _agreement(x: Tensor) -> Tensor:
    """How many units of `x` `(n, ...)` are positive, or not, for both of each pair: `(n, n)`."""
    signs = (x.flatten(1) > 0).to(torch.float32) * 2 - 1
    # The product counts equal minus different units, all units counting their sum: one matrix
    # product in place of two. Float32 is exact here up to 2**24 units.
    return ((signs @ signs.T).double().cpu() + signs.shape[1]) / 2


NASWOT = Proxy(naswot, {"naswot": True})
