"""SynFlow: the flow of the absolute weights from input to output, free of data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predictors.proxies.proxy import NONLINEARITIES, ROUNDINGS, Batch, Function, Loss, Proxy, probe


def _same(x: Tensor, *_args: object, **_kwargs: object) -> Tensor:
    return x


_CLAMPS = (torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_)

# With absolute weights and an input of ones every value is positive, where a rectifier is linear.
# Norms and fake quantizers would undo the scale that is measured; bounded nonlinearities would
# saturate and hide all that comes before them.
_LINEAR: Mapping[Function, Function] = dict.fromkeys(
    (
        *NONLINEARITIES,
        *ROUNDINGS,
        *_CLAMPS,
        F.batch_norm,
        torch.fake_quantize_per_tensor_affine,
        torch.fake_quantize_per_channel_affine,
    ),
    _same,
)


def synflow(module: nn.Module, batch: Batch, _loss: Loss) -> Mapping[str, float]:
    """`synflow`: log of the sum over weights of |w dR/dw|, where R sums the logits.

    In float64 on one input of ones, with norms, nonlinearities and fake quantizers bypassed; the
    logarithm keeps the published order and tames values of 1e30 and more. Tanaka et al. 2020;
    the variant without norms is that of Abdelfattah et al. 2021.
    """
    with probe(module, _LINEAR, dtype=torch.float64) as network:
        ones = torch.ones_like(batch[0][:1], dtype=torch.float64)
        absolute = replace(
            network,
            parameters={
                n: p.detach().abs().requires_grad_() for n, p in network.parameters.items()
            },
        )
        weights = absolute.weights
        slopes = torch.autograd.grad(
            absolute(ones).sum(), weights, allow_unused=True, materialize_grads=True
        )
        pairs = zip(weights, slopes, strict=True)
        flow = float(sum((weight.detach() * slope).abs().sum() for weight, slope in pairs))
    return {"synflow": math.log(flow) if flow > 0 else -math.inf}


SYNFLOW = Proxy(synflow, {"synflow": True})
