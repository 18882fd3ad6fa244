"""SynFlow: the flow through the absolute weights from input to output; needs no data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predictors.proxies.proxy import (
    NONLINEARITIES,
    ROUNDINGS,
    Batch,
    Function,
    Loss,
    Proxy,
    each,
    probe,
)


def _same(x: Tensor, *_args: object, **_kwargs: object) -> Tensor:
    return x


_CLAMPS = (torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_)

# With absolute weights and an input of ones, every value is positive, and there a rectifier is
# linear. Norms and fake quantizers would undo the scale that is measured; bounded nonlinearities
# would saturate and hide all layers before them.
_LINEAR: Mapping[Function, Function] = dict.fromkeys(
    (
        *NONLINEARITIES,
        *ROUNDINGS,
        *_CLAMPS,
        F.batch_norm,
        F.layer_norm,
        F.group_norm,
        F.rms_norm,
        torch.fake_quantize_per_tensor_affine,
        torch.fake_quantize_per_channel_affine,
    ),
    _same,
)


def synflow(module: nn.Module, batch: Batch, _loss: Loss) -> Mapping[str, float]:
    """The proxy `synflow`: the logarithm of the sum over all weights of |w dR/dw|.

    R is the sum of the output for one input of ones, with absolute weights (Tanaka et al. 2020).
    Norms are bypassed (Abdelfattah et al. 2021), and so are nonlinearities and fake quantizers. The
    computation is in float64. The logarithm keeps the order and tames values above 1e30.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    with probe(module, _LINEAR, dtype=torch.float64) as network:
        ones = each(batch[0], _ones)
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


def _ones(x: Tensor) -> Tensor:
    """One sample of ones like those of `x`."""
    return torch.ones_like(x[:1], dtype=torch.float64 if x.is_floating_point() else None)


SYNFLOW = Proxy(synflow, {"synflow": True})
