"""Counts: the baseline that every other proxy has to beat."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from predictors.proxies.base import Batch, Loss, Proxy, probe
from search_spaces import costs
from search_spaces.costs import CompiledCost, SpaceKernels


def counts(module: nn.Module, batch: Batch, _loss: Loss) -> Mapping[str, float]:
    """`params`, the elements of all parameters, and `macs`, multiply-accumulates per image."""
    flops = FlopCounterMode(display=False)
    with probe(module, {}) as network, torch.no_grad(), flops:
        network(batch[0][:1])
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return {"params": float(parameters), "macs": flops.get_total_flops() / 2}


COUNTS = Proxy(counts, {"params": True, "macs": True})


def space_counts(kernels: SpaceKernels) -> dict[str, CompiledCost]:
    """`params`, `macs`, `bitops` and `model_bytes` of every genotype of a space, vectorised.

    `params` has norms folded into biases, as deployed; `counts` takes a module as it is.
    """
    by_name = {
        "params": costs.parameters,
        "macs": costs.macs,
        "bitops": costs.bitops,
        "model_bytes": costs.model_bytes,
    }
    return {name: kernels.compile(cost) for name, cost in by_name.items()}
