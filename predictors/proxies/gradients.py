"""Proxies that need one forward and one backward pass: the gradient's norm, and SNIP."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from predictors.proxies.proxy import AS_TRAINED, Batch, Loss, Proxy, probe


def gradients(module: nn.Module, batch: Batch, loss: Loss) -> Mapping[str, float]:
    """The proxies `grad_norm` and `snip`.

    `grad_norm` is the sum over weight tensors of |dL/dw|_2 (Abdelfattah et al. 2021). `snip` is the
    sum of |w dL/dw| over all elements (Lee et al. 2019, without its normalization).

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    inputs, targets = batch
    with probe(module, AS_TRAINED) as network:
        weights = network.weights
        value = loss(network(inputs), targets.clone())
        slopes = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
        pairs = list(zip(weights, slopes, strict=True))
        norm = sum(slope.norm() for slope in slopes)
        saliency = sum((weight.detach() * slope).abs().sum() for weight, slope in pairs)
    return {"grad_norm": float(norm), "snip": float(saliency)}


GRADIENTS = Proxy(gradients, {"grad_norm": True, "snip": True})
