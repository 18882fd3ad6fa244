"""ZiCo: how large and how steady the gradients of weights are over mini-batches."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from predictors.proxies.layers import path_of
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject


def zico(subject: Subject) -> Mapping[str, Value]:
    """The proxy `zico`: the sum over layers of log(sum of mean |g| / std g) (Li et al. 2023).

    g is the gradient of the loss with respect to one weight; mean and (population) standard
    deviation are those of two mini-batches, the halves of the batch. Weights without deviation are
    left out of the inner sum, and layers in which no weight is left do not count. A batch of one
    sample has no such value, nor has a network of which no layer counts. Cost: one forward and one
    backward pass.

    Raises:
        ValueError: If the module has no weight of two or more dimensions.
    """
    half = subject.count // 2
    if not half:
        return {}
    halves = [subject.part(0, half), subject.part(half, subject.count)]
    first, second = (part.slopes.weights for part in halves)
    sums: dict[str, float] = defaultdict(float)
    for name, slope in first.items():
        sums[path_of(name)] += _steadiness(torch.stack([slope, second[name]]).double())
    layers = {path: math.log(value) for path, value in sums.items() if value > 0}
    return {"zico": Value.summed(layers) if layers else Value(math.nan)}


def _steadiness(slopes: Tensor) -> float:
    """The sum of mean |g| / std g over the weights that have a deviation; `(batches, ...)`."""
    deviation = slopes.std(0, correction=0)
    kept = deviation > 0
    return float((slopes.abs().mean(0)[kept] / deviation[kept]).sum())


ZICO = Proxy(zico, {"zico": True})
