"""The balance of two Kullback-Leibler divergences."""

from __future__ import annotations

import torch
from torch import Tensor

from supernets.training.criterion import TrainingCriterion

_HEAVY = 2 / 3


def balanced(student: Tensor, teacher: Tensor, criterion: TrainingCriterion) -> Tensor:
    """Forward and reverse Kullback-Leibler divergence, weighed for each sample by who is surer.

    The forward divergence, of the teacher's distribution from the student's, spreads the student's
    probabilities; the reverse divergence gathers them. Where the student has the lower entropy and
    is thus too sure, the forward divergence weighs twice the reverse; elsewhere, the reverse weighs
    twice the forward. The idea is that of BD-KD (Amara et al. 2022). Its weights were not at hand:
    those here add up to one, so that losses have the size of one divergence.
    """
    own = criterion.log_probabilities(student).flatten(0, -2)
    others = criterion.log_probabilities(teacher.detach()).flatten(0, -2)
    forward = (others.exp() * (others - own)).sum(1)
    reverse = (own.exp() * (own - others)).sum(1)
    weight = torch.where(_entropy(own) < _entropy(others), _HEAVY, 1 - _HEAVY)
    return (weight * forward + (1 - weight) * reverse).mean()


def _entropy(logs: Tensor) -> Tensor:
    """The entropies of distributions, given the logarithms of probabilities `(n, options)`."""
    return -(logs.exp() * logs).sum(1)
