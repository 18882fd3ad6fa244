"""The adaptive alpha-divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from supernets.training.criterion import TrainingCriterion

# Of AlphaNet's code (Wang et al. 2021): both values of alpha, and the bound of powers of the ratio.
_ALPHAS = (-1.0, 1.0)
_CLIP = 5.0


def alpha(student: Tensor, teacher: Tensor, criterion: TrainingCriterion) -> Tensor:
    """The larger of two alpha-divergences for each sample (AlphaNet, Wang et al. 2021).

    With alpha = 1, the Kullback-Leibler divergence, a student that is too sure is punished most;
    with alpha = -1, a student that is not sure enough.
    """
    own = criterion.log_probabilities(student).flatten(0, -2)
    others = criterion.log_probabilities(teacher.detach()).flatten(0, -2)
    low, high = (alpha_divergence(own, others, alpha=value) for value in _ALPHAS)
    return torch.where(low > high, low, high).mean()


def alpha_divergence(student: Tensor, teacher: Tensor, *, alpha: float) -> Tensor:
    """The alpha-divergence of the teacher's distribution from each student's, `(n,)`.

    With the student's probabilities q and the ratio r of the teacher's to q, the divergence is the
    sum of q * (r^alpha - 1) / (alpha * (alpha - 1)), or of q * r * log r for alpha = 1. Powers of r
    are clipped, so that no probability dominates. The gradient is that of the sum of
    -q * rho * log q, where only log q is differentiated, with rho = r^alpha / alpha + 1 / (alpha *
    (alpha - 1)), or rho = r for alpha = 1 (`f_divergence` of AlphaNet's code). Where nothing is
    clipped, this is the gradient of the divergence.

    Args:
        student: Logarithms of probabilities, `(n, options)`.
        teacher: The same of the teacher, without gradient.
        alpha: Any number but 0, for which the divergence is a limit.
    """
    log_ratio, own = (teacher - student).detach(), student.detach().exp()
    if alpha == 1:  # here q * r is the teacher's probability, which is finite where r is not
        value, pull = teacher.exp() * log_ratio, teacher.exp()
    else:
        power, scale = (alpha * log_ratio).exp().clamp(max=_CLIP), alpha * (alpha - 1)
        value, pull = own * (power - 1) / scale, own * (power / alpha + 1 / scale)
    surrogate = -(pull * student).sum(1)
    return value.sum(1) + (surrogate - surrogate.detach())
