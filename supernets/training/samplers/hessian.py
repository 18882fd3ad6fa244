"""Estimates of the trace of a loss's Hessian, one per weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class TwiceDifferentiable(TorchFunctionMode):
    """A context in which networks can be differentiated twice.

    Torch has no second derivative of `hardsigmoid`, but of the equal `relu6(x + 3) / 6`.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.hardsigmoid:
            return F.relu6(args[0] + 3) / 6
        return func(*args, **(kwargs or {}))


def trace_estimates(loss: Tensor, weights: Sequence[Tensor], signs: Sequence[Tensor]) -> Tensor:
    """An estimate of the trace of the Hessian by each weight, `(weights,)`.

    Hutchinson's estimator (1990): for random signs `z`, the mean of `z * (H z)`, summed over the
    elements of a weight, is the trace of the block of `H` that belongs to the weight. All blocks
    share one product with the Hessian, since the signs of two weights are independent.

    Args:
        loss: A scalar, whose graph is kept no longer.
        weights: The weights; the trace of a weight that the loss does not depend on is 0.
        signs: For each weight, a tensor of its shape with elements 1 and -1.

    Raises:
        ValueError: If torch has no second derivative of an operator.
    """
    slopes = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
    curved = [pair for pair in zip(slopes, signs, strict=True) if pair[0].requires_grad]
    if not curved:
        return loss.new_zeros(len(weights))
    along = torch.stack([(slope * sign).sum() for slope, sign in curved]).sum()
    try:
        products = torch.autograd.grad(along, weights, materialize_grads=True)
    except RuntimeError as error:
        if "derivative for" not in str(error):
            raise
        raise ValueError(
            f"a sampler by the curvature of the loss needs second derivatives, but {error} in "
            "torch; take another sampler, or another activation function"
        ) from error
    pairs = zip(products, signs, strict=True)
    return torch.stack([(product * sign).sum() for product, sign in pairs]).detach()


def random_signs(weights: Sequence[Tensor], rng: np.random.Generator) -> list[Tensor]:
    """For each weight, a tensor of its shape and type whose elements are 1 or -1, at random."""
    return [
        torch.from_numpy(2.0 * rng.integers(0, 2, size=tuple(weight.shape)) - 1).to(weight)
        for weight in weights
    ]
