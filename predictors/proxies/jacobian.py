"""Jacobian covariance: how different the network's gradients at the samples of a batch are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from predictors.proxies.proxy import AS_TRAINED, Batch, Loss, Proxy, each, probe, tensors_of

_STABLE = 1e-5


def jacob_cov(module: nn.Module, batch: Batch, _loss: Loss) -> Mapping[str, float]:
    """The proxy `jacob_cov` (Mellor et al. 2020, first version).

    It is -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlation matrix of J, with
    k = 1e-5. Row n of J is the gradient of the summed output with respect to sample n. The value is
    NaN if the gradient of some sample is zero. A network that reads no floats has no such proxy.
    """
    with probe(module, AS_TRAINED) as network:
        inputs = each(batch[0], _watched)
        read = [x for x in tensors_of(inputs) if x.requires_grad]
        if not read:
            return {}
        slopes = torch.autograd.grad(network(inputs).sum(), read)
        rows = torch.cat([slope.flatten(1) for slope in slopes], dim=1).double()
    correlation = torch.corrcoef(rows)
    if not bool(correlation.isfinite().all()):
        return {"jacob_cov": float("nan")}
    # Rounding may leave an eigenvalue of a correlation matrix a little below zero.
    values = torch.linalg.eigvalsh(correlation).clamp(min=0.0) + _STABLE
    return {"jacob_cov": -float((values.log() + 1.0 / values).sum())}


def _watched(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_(x.is_floating_point())


JACOB_COV = Proxy(jacob_cov, {"jacob_cov": True})
