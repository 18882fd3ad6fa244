"""Estimates of the trace of a loss's Hessian, one per weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def trace_estimates(loss: Tensor, weights: Sequence[Tensor], signs: Sequence[Tensor]) -> Tensor:
    """An estimate of the trace of the Hessian by each weight, `(weights,)`.

    Hutchinson's estimator (1990): for random signs `z`, the mean of `z * (H z)`, summed over the
    elements of a weight, is the trace of the block of `H` that belongs to the weight. All blocks
    share one product with the Hessian, since the signs of two weights are independent.

    Args:
        loss: A scalar, whose graph is kept no longer.
        weights: The weights; the trace of a weight that the loss does not depend on is 0.
        signs: For each weight, a tensor of its shape with elements 1 and -1.
    """
    slopes = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
    curved = [pair for pair in zip(slopes, signs, strict=True) if pair[0].requires_grad]
    if not curved:
        return loss.new_zeros(len(weights))
    along = torch.stack([(slope * sign).sum() for slope, sign in curved]).sum()
    products = torch.autograd.grad(along, weights, materialize_grads=True)
    pairs = zip(products, signs, strict=True)
    return torch.stack([(product * sign).sum() for product, sign in pairs]).detach()


def random_signs(weights: Sequence[Tensor], rng: np.random.Generator) -> list[Tensor]:
    """For each weight, a tensor of its shape and type whose elements are 1 or -1, at random."""
    return [
        torch.from_numpy(2.0 * rng.integers(0, 2, size=tuple(weight.shape)) - 1).to(weight)
        for weight in weights
    ]
