"""Hessian-aware stochastic bit-switching: sensitive layers draw high bits more often."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from search_spaces.space import IntArray, as_genotypes
from supernets.ranks import ALONE
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.samplers.hessian import TwiceDifferentiable, random_signs, trace_estimates
from supernets.training.samplers.precisions import bit_choices, drawn, layer_choices
from supernets.training.samplers.sampler import Sampler, Sandwich

_SAMPLES = 1000
# The share of the draws of sensitive layers that have weighted bits in the last epoch. The paper
# calls the share sigma; we do not know its value.
_SIGMA = 0.5


class HessianAware(Sampler):
    """The sandwich rule with weighted bits in sensitive layers.

    HASB of "Double Rounding" (Huang et al. 2025, Nearly Lossless Adaptive Bit Switching): a layer
    is sensitive if the Hessian of the loss by the layer's weight has a trace of at least the
    layers' mean. A sensitive layer draws `b` bits with a probability
    proportional to `b`. This happens for a share `sigma * epoch / epochs` of its draws, with epochs
    of the quantized phase counted from 1; all other draws, and all other layers, are uniform.
    Architectures are uniform too.

    The traces are those of the largest subnet in full precision on about 1,000 samples, estimated
    once, at the first quantized step. A layer that this subnet does not run has the trace 0. A
    choice that several layers share has the mean trace of these layers.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._bits, self._layers = bit_choices(self.space), layer_choices(self.space)
        self._traces = torch.full((len(self._layers),), math.nan, dtype=torch.float64)

    def draw(self, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
        count = self.context.settings.random_subnets
        if moment.quantized:
            if self._traces.isnan().any():
                self._traces = self._estimated(rng)
            rows = self._weighted(moment, rng, count)
        else:
            rows = drawn(self.space, rng, count, quantized=False)
        return Sandwich(self.space.largest, tuple(as_genotypes(rows)), self.space.smallest)

    def sensitive(self) -> list[int]:
        """The columns of the choices of sensitive layers."""
        mean = float(self._traces.mean()) if len(self._traces) else math.nan
        by_layer = dict(zip(self._layers, self._traces.tolist(), strict=True))
        traces = {
            column: [by_layer[a] for a, columns in self._layers.items() if column in columns]
            for column in self._bits
        }
        return [column for column, held in traces.items() if held and np.mean(held) >= mean]

    def _weighted(self, moment: Moment, rng: np.random.Generator, count: int) -> IntArray:
        space = self.space
        rows = rng.integers(0, space.counts, size=(count, len(space.counts)))
        share = _SIGMA * _epochs_begun(moment)
        for column in self.sensitive():
            bits = np.array(self._bits[column], dtype=float)
            picks = rng.choice(len(bits), size=count, p=bits / bits.sum())
            rows[:, column] = np.where(rng.random(count) < share, picks, rows[:, column])
        return space.canonical_array(rows)

    def _estimated(self, rng: np.random.Generator) -> Tensor:
        """The traces by layer, the mean over batches with signs of their own, `(layers,)`.

        Processes that train together share whole batches among them.
        """
        context, ranks = self.context, self.context.ranks
        weights = [context.supernet.node(a).tensors["weight"] for a in self._layers]
        batches = min(-(-_SAMPLES // context.settings.batch_size), context.plan.total)
        total = torch.zeros_like(self._traces)
        for step in range(batches if weights else 0):
            signs = random_signs(weights, rng)
            if step % ranks.count != ranks.rank:
                continue
            inputs, targets = context.batch(step)
            with ALONE.sharing(), TwiceDifferentiable():
                output = context.supernet(inputs, self.space.largest, quantize=False)
            loss = context.criterion.loss(output, targets)
            total += trace_estimates(loss, weights, signs).to(total)
        ranks.add(total)
        return torch.nan_to_num(total / batches)  # NaN stands for: not estimated yet

    def tensors(self) -> dict[str, Tensor]:
        return {"traces": self._traces}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._traces = tensors["traces"]


def _epochs_begun(moment: Moment) -> float:
    """The share of the epochs of the quantized phase that have begun, above 0 to 1."""
    plan = moment.plan
    done = (moment.step - plan.float_steps) // plan.epoch
    return (done + 1) / ((plan.total - plan.float_steps) // plan.epoch)
