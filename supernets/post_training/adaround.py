"""AdaRound: whether each weight is rounded up or down is learned (Nagel et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from supernets.post_training.error_feedback import better_rows, output_error
from supernets.post_training.lattice import Lattice

# Stretched sigmoid and annealing of Nagel et al. 2020, section 3.3 and eq. 23-25.
_ZETA, _GAMMA = 1.1, -0.1
_BETAS, _WARM_UP = (20.0, 2.0), 0.2
_RATE, _PULL = 0.03, 0.1
ROUNDS = 400


def adaptive_rounding(
    target: Tensor, gram: Tensor, lattice: Lattice, *, rounds: int = ROUNDS
) -> Tensor:
    """`target` rounded up or down; no row has a greater output error than rounded to nearest.

    The squared output error is a quadratic function of the weights, so that its exact gradient over
    all samples costs one product with the second moment of the inputs.

    Args:
        target: The weight, `(groups, out, columns)`.
        gram: The second moment of the inputs, `(groups, columns, columns)`.
        lattice: The values that the entries may have.
        rounds: The number of steps of Adam.
    """
    below, above = lattice.neighbours(target)
    nearest = lattice.near(target)
    scale = output_error(nearest - target, gram).mean().clamp_min(1e-12)
    gate = started(target, below, above).requires_grad_()
    optimizer = torch.optim.Adam([gate], lr=_RATE)
    for done in range(rounds):
        up = opened(gate)
        difference = below + up * (above - below) - target
        loss = output_error(difference, gram).mean() / scale
        (loss + pull(up, done / rounds)).backward()
        optimizer.step()
        optimizer.zero_grad()
    found = torch.where(opened(gate.detach()) >= 0.5, above, below)
    return better_rows(target, gram, found, nearest)


def opened(gate: Tensor) -> Tensor:
    """The share of the way up, from 0 to 1: the rectified sigmoid of `gate` (eq. 23)."""
    return (torch.sigmoid(gate) * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)


def started(target: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """The gates at which the weight is `target` itself, where `target` is inside the bounds."""
    share = ((target - below) / (above - below)).clamp(0.0, 1.0)
    return torch.logit((share - _GAMMA) / (_ZETA - _GAMMA))


def pull(up: Tensor, done: float) -> Tensor:
    """The term that draws every share to 0 or 1 (eq. 24); 0 while the first rounds warm up."""
    if done < _WARM_UP:
        return up.new_zeros(())
    first, last = _BETAS
    beta = last + (first - last) * (1 - done) / (1 - _WARM_UP)
    return _PULL * (1 - (2 * up - 1).abs().pow(beta)).mean()
