"""Zero-cost proxies: scores of a subnet that need one batch and no training.

Read in this order: `base` (what a proxy is), one file per proxy, `sensitivity` (what each precision
costs), `ranking` (how well each one ranks), `estimate` (their values for whole populations).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from predictors.proxies.counts import COUNTS
from predictors.proxies.gradients import GRADIENTS
from predictors.proxies.jacobian import JACOB_COV
from predictors.proxies.naswot import NASWOT
from predictors.proxies.proxy import Batch, Loss, Proxy
from predictors.proxies.synflow import SYNFLOW

ZERO_COST: tuple[Proxy, ...] = (COUNTS, GRADIENTS, SYNFLOW, NASWOT, JACOB_COV)


def scores(
    module: nn.Module, batch: Batch, loss: Loss, *, proxies: Sequence[Proxy] = ZERO_COST
) -> dict[str, float]:
    """Every proxy's values by name; one that is not a number becomes the worst value there is."""
    result: dict[str, float] = {}
    for proxy in proxies:
        for name, value in proxy.score(module, batch, loss).items():
            worst = -math.inf if proxy.larger_is_better[name] else math.inf
            result[name] = worst if math.isnan(value) else value
    return result
