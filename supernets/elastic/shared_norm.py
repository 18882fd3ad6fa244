"""Batch norm over a batch whose rows are shared among several processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from supernets.ranks import Ranks

_OTHERS = (0, 2, 3)  # all axes but the channels


class _SharedNorm(torch.autograd.Function):
    """Batch norm (Ioffe & Szegedy 2015, algorithm 1) with sums over the rows of all processes.

    Torch's `SyncBatchNorm` computes the same, but only on GPUs.

    The gradient by the input depends on two sums over the whole batch (section 3 of the paper).
    The gradients by scale and shift are those of the process's own rows, as are all gradients by
    parameters before the step adds them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, epsilon: float, ranks: Ranks
    ) -> Tensor:
        mean, variance, count = (part.to(scale.dtype) for part in _statistics(x, ranks))
        ctx.save_for_backward(x, scale, mean, (variance + epsilon).rsqrt())
        ctx.count, ctx.ranks = count, ranks
        return F.batch_norm(x, mean, variance, scale, shift, training=False, eps=epsilon)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        x, scale, mean, inverse = ctx.saved_tensors
        normal = (x - _column(mean)) * _column(inverse)
        of_shift, of_scale = grad.sum(_OTHERS), (grad * normal).sum(_OTHERS)
        sums = torch.stack([of_shift, of_scale])
        ctx.ranks.add(sums)
        along, across = (sums / ctx.count).unbind()
        centred = grad - _column(along) - normal * _column(across)
        by_input = (centred * _column(scale * inverse)).to(x.dtype)
        return by_input, of_scale, of_shift, None, None


def shared_norm(x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float, ranks: Ranks) -> Tensor:
    """The batch norm of `x`, with the statistics of the batch of which `x` is a part.

    Args:
        x: The rows of this process, `(n, channels, height, width)`.
        scale: The factor of each channel.
        shift: The addend of each channel.
        epsilon: The addend of the variance.
        ranks: The processes that share the batch.
    """
    return _SharedNorm.apply(x, scale, shift, epsilon, ranks)  # pyright: ignore[reportReturnType]


def _statistics(x: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor]:
    """The mean and the biased variance of each channel over all processes, and the count.

    The sums are in double precision, as a variance is a small difference of large sums.
    """
    variance, mean = (part.double() for part in torch.var_mean(x, _OTHERS, correction=0))
    count = mean.new_tensor([x.numel() / x.shape[1]])
    sums, squares = mean * count, (variance + mean**2) * count
    ranks.add(sums, squares, count)
    mean = sums / count
    return mean, (squares / count - mean**2).clamp(min=0), count


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]
