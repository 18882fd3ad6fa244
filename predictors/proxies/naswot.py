"""NASWOT: how different the activation patterns of the samples of a batch are."""

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
    """The proxy `naswot`: log |det K| (Mellor et al. 2021).

    K[i, j] counts the units that are both active or both inactive for samples i and j. A unit is
    one element of the input of a nonlinearity, and is active where it is positive. For ReLU this is
    the published definition; here it holds for all nonlinearities. The value is minus infinity if
    two samples have the same pattern or the network has no nonlinearity.
    """
    alike: list[Tensor] = []

    def recording(function: Function) -> Function:
        def recorded(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            alike.append(_agreement(x.detach()))
            return function(x, *args, **kwargs)

        return recorded

    routes = {function: recording(function) for function in NONLINEARITIES}
    with probe(module, {**AS_TRAINED, **routes}) as network, torch.no_grad():
        network(batch[0])
    if not alike:
        return {"naswot": -math.inf}
    return {"naswot": float(torch.linalg.slogdet(torch.stack(alike).sum(0)).logabsdet)}


def _agreement(x: Tensor) -> Tensor:
    """The number of units of `x` `(n, ...)` with equal sign, for each pair of samples: `(n, n)`."""
    signs = (x.flatten(1) > 0).to(torch.float32) * 2 - 1
    # The product is the number of equal units minus that of different units; the number of all
    # units is their sum. So one matrix product is enough. Float32 is exact here up to 2**24 units.
    return ((signs @ signs.T).double().cpu() + signs.shape[1]) / 2


NASWOT = Proxy(naswot, {"naswot": True})
