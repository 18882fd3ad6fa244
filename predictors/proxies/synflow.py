"""SynFlow: the flow through the absolute weights from input to output; needs no data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from predictors.proxies.probe import LINEAR, each, probe
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject, slopes_of


def synflow(subject: Subject) -> Mapping[str, Value]:
    """The proxy `synflow`: the logarithm of the sum over all weights of |w dR/dw|.

    R is the sum of the output for one input of ones, with absolute weights (Tanaka et al. 2020).
    Norms are bypassed (Abdelfattah et al. 2021), and so are nonlinearities and fake quantizers. The
    computation is in float64. The logarithm keeps the order and tames values above 1e30. The value
    of a layer is the logarithm of its own part of the sum, minus infinity if nothing flows through
    it. Cost: one forward and one backward pass of a single sample, in float64.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    with probe(subject.module, LINEAR, dtype=torch.float64) as network:
        ones = each(subject.inputs, _ones)
        held = {n: p.detach().abs().requires_grad_() for n, p in network.parameters.items()}
        absolute = replace(network, parameters=held)
        weights = absolute.weights
        output = absolute(ones).sum()
    slopes = slopes_of(output, [*weights.values()])
    pairs = zip(weights.items(), slopes, strict=True)
    flows = Value.of_parameters({n: float((w.detach() * g).abs().sum()) for (n, w), g in pairs})
    layers = {path: _log(flow) for path, flow in flows.layers.items()}
    return {"synflow": Value(_log(flows.total), layers)}


def _log(flow: float) -> float:
    return math.log(flow) if flow > 0 else -math.inf


def _ones(x: Tensor) -> Tensor:
    """One sample of ones like those of `x`."""
    return torch.ones_like(x[:1], dtype=torch.float64 if x.is_floating_point() else None)


SYNFLOW = Proxy(synflow, {"synflow": True})
