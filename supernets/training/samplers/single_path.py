"""A search by gradient that is joined to the training: subnets are drawn where they pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.space import Genotype, IntArray, as_genotypes
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.samplers.precisions import drawn
from supernets.training.samplers.sampler import Sampler, Sandwich

FloatArray = NDArray[np.float64]

_WEIGHT = 0.1  # of the logarithm of the cost
_RATE, _DECAYS, _LEAST = 0.02, (0.9, 0.999), 1e-8


class SinglePath(Sampler):
    """Differentiable search joined to training, after ProxylessNAS and Single-Path NAS.

    One logit per option of every choice. The random subnets of the quantized phase are drawn with
    the softmax of the logits, which follow the gradient of the expected loss plus 0.1 times the
    logarithm of the cost (Cai et al. 2019, section 3.3). All options are parts of one superkernel
    (Stamoulis et al. 2019).

    The gradient is that of REINFORCE, which Cai et al. offer as the second way, with the mean of
    the other subnets of the step as the baseline. It needs no further pass; an estimate of every
    exchange (`supernets.exchange`) would need a pass for every option of every choice. Adam takes
    the steps.

    The cost is that on a device, if the training has one, and then the shared weights suit that
    device. Subnets that the search leaves are trained less; the largest and the smallest subnet
    stay in every step.

    Raises:
        ValueError: If a step has fewer than two random subnets, which could not be compared.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        count = context.settings.random_subnets
        if count < 2:
            raise ValueError(
                f"a search joined to training compares the random subnets of a step, given "
                f"random_subnets = {count}; give at least 2, or another sampler"
            )
        self._cost = context.device_cost or context.cost
        most = int(self.space.counts.max(initial=1))
        self._there = np.arange(most) < self.space.counts[:, None]
        # Logits, then the means of the gradient and of its square.
        self._state = np.zeros((3, *self._there.shape))
        self._updates = np.zeros(1, dtype=np.int64)

    def draw(self, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
        space, count = self.space, self.context.settings.random_subnets
        if not moment.quantized:
            rows = drawn(space, rng, count, quantized=False)
        else:
            bounds = self.probabilities().cumsum(axis=1)
            shares = rng.random((count, len(space.counts), 1))
            picks = (shares > bounds).sum(axis=2)
            rows = space.canonical_array(np.minimum(picks, space.counts - 1))
        return Sandwich(space.largest, tuple(as_genotypes(rows)), space.smallest)

    def tell(self, moment: Moment, subnets: Sandwich, losses: Sequence[float]) -> None:
        if not moment.quantized:
            return
        known = dict(zip(subnets.students, losses[1:], strict=True))
        rows = [genotype for genotype in subnets.random if genotype in known]
        if len(set(rows)) > 1:
            aims = np.array([known[genotype] for genotype in rows])
            costs = self._cost(np.array(rows))
            if np.isfinite(costs).all() and (costs > 0).all():
                self._follow(self.gradient(np.array(rows), aims + _WEIGHT * np.log(costs)))

    def probabilities(self) -> FloatArray:
        """The probability of every option, `(choices, most options)`; 0 where there is none."""
        logits = np.where(self._there, self._state[0], -np.inf)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    def gradient(self, rows: IntArray, aims: FloatArray) -> FloatArray:
        """An estimate of the gradient of the expected aim by the logits.

        Args:
            rows: Genotypes that were drawn, `(n, choices)`, with n at least 2.
            aims: What is to be minimised, for each genotype.
        """
        others = (aims.sum() - aims) / (len(aims) - 1)
        picked = np.arange(self._there.shape[1]) == rows[:, :, None]
        scores = picked - self.probabilities()
        active = self.space.active_array(rows)[:, :, None]  # closed choices have no influence
        return ((aims - others)[:, None, None] * active * scores).mean(axis=0)

    def favoured(self) -> Genotype | None:
        if not self._updates[0]:
            return None
        return self.space.canonical(self.probabilities().argmax(axis=1).tolist())

    def _follow(self, gradient: FloatArray) -> None:
        """A step of Adam (Kingma & Ba 2015, algorithm 1)."""
        self._updates += 1
        moments, decays = self._state[1:], np.array(_DECAYS)[:, None, None]
        moments += (1 - decays) * (np.stack([gradient, gradient**2]) - moments)
        mean, square = moments / (1 - decays ** int(self._updates[0]))
        self._state[0] -= _RATE * mean / (np.sqrt(square) + _LEAST)

    def tensors(self) -> dict[str, Tensor]:
        return {
            "state": torch.from_numpy(self._state),
            "updates": torch.from_numpy(self._updates),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._state, self._updates = (tensors[n].numpy().copy() for n in ("state", "updates"))
