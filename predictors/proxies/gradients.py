"""Proxies of one forward and backward pass: the norm of the gradient, and SNIP."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from predictors.proxies.proxy import AS_TRAINED, Batch, Loss, Proxy, probe


def gradients(module: nn.Module, batch: Batch, loss: Loss) -> Mapping[str, float]:
    """`grad_norm`, the sum over weights of |dL/dw|_2, and `snip`, the sum of |w dL/dw|.

    Abdelfattah et al. 2021; Lee et al. 2019, without its normalization.
    """
    images, labels = batch
    with probe(module, AS_TRAINED) as network:
        weights = network.weights
        value = loss(network(images), labels.clone())
        slopes = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
        pairs = list(zip(weights, slopes, strict=True))
        norm = sum(slope.norm() for slope in slopes)
        saliency = sum((weight.detach() * slope).abs().sum() for weight, slope in pairs)
    return {"grad_norm": float(norm), "snip": float(saliency)}


GRADIENTS = Proxy(gradients, {"grad_norm": True, "snip": True})
