"""Jacobian covariance: how different the network's gradients at the images of a batch are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from predictors.proxies.proxy import AS_TRAINED, Batch, Loss, Proxy, probe

_STABLE = 1e-5


def jacob_cov(module: nn.Module, batch: Batch, _loss: Loss) -> Mapping[str, float]:
    """The proxy `jacob_cov` (Mellor et al. 2020, first version).

    It is -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlation matrix of J, with
    k = 1e-5. Row n of J is the gradient of the summed logits with respect to image n. The value is
    NaN if the gradient of some image is zero.
    """
    with probe(module, AS_TRAINED) as network:
        images = batch[0].detach().clone().requires_grad_()
        rows = torch.autograd.grad(network(images).sum(), images)[0].flatten(1).double()
    correlation = torch.corrcoef(rows)
    if not bool(correlation.isfinite().all()):
        return {"jacob_cov": float("nan")}
    # Rounding may leave an eigenvalue of a correlation matrix a little below zero.
    values = torch.linalg.eigvalsh(correlation).clamp(min=0.0) + _STABLE
    return {"jacob_cov": -float((values.log() + 1.0 / values).sum())}


JACOB_COV = Proxy(jacob_cov, {"jacob_cov": True})
