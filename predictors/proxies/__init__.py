"""Zero-cost proxies: scores of a subnet that need one batch and no training.

Read the modules in this order: `proxy` (the type), one file per proxy, `sensitivity` (the loss that
each precision causes), `ranking` (how well each proxy ranks), `estimate` (values for populations).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from predictors.proxies.proxy import Batch, Loss, Proxy


def scores(
    module: nn.Module, batch: Batch, loss: Loss, *, proxies: Sequence[Proxy]
) -> dict[str, float]:
    """The values of all proxies for one network, by name.

    A value that is not a number, or that a proxy does not give for such a network, becomes minus or
    plus infinity, whichever is worse for its proxy.

    Args:
        module: The network.
        batch: Inputs, one tensor `(n, ...)` or tensors by argument of the module, and targets.
        loss: Maps outputs and targets to a scalar.
        proxies: The proxies to compute.
    """
    result: dict[str, float] = {}
    for proxy in proxies:
        given = proxy.score(module, batch, loss)
        for name, larger_is_better in proxy.larger_is_better.items():
            value = given.get(name, math.nan)
            worst = -math.inf if larger_is_better else math.inf
            result[name] = worst if math.isnan(value) else value
    return result
