"""Adaptive learning rate scaling of the steps of weights, by precision."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from search_spaces.space import Genotype
from supernets.supernet import subnet_of
from supernets.training.callbacks.callback import Callback
from supernets.training.context import Moment, TrainingContext


class AdaptiveRates(Callback):
    """Adaptive learning rate scaling (ALRS) of Double Rounding: few bits move shared steps less.

    A subnet's gradient by the steps of a weight with `b` of at most `h` bits is scaled so that the
    steps learn at the rate `eta_b * (rate - mean)`, which is never below 0 ("Nearly Lossless
    Adaptive Bit Switching", 2025, equations 10-11). Here `rate` is the present learning rate of
    steps, `mean` is the mean over the weights of the subnet of their steps' largest gradient, of
    which each counts as at most 1, and `eta_b` is `shrinkage(h - b)`. The paper updates the steps
    after every subnet; here the scaled gradients of a step's subnets are summed.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._summed: dict[nn.Parameter, Tensor] = {}

    def before_step(self, moment: Moment) -> None:
        self._summed.clear()

    def after_pass(self, moment: Moment, place: int, genotype: Genotype) -> None:
        weights = [*self._gradients(genotype)]
        if not weights:
            return
        rate = moment.plan.learning_rate(moment.step) * self.context.settings.step_rate
        largest = [torch.stack([g.abs().max() for g in new.values()]).max() for new, _ in weights]
        mean = torch.stack(largest).clamp(max=1).mean()
        adapted = (rate - mean).clamp(min=0) / (rate or 1.0)
        for gradients, eta in weights:
            for parameter, gradient in gradients.items():
                summed = self._summed.get(parameter, 0) + eta * adapted * gradient
                self._summed[parameter], parameter.grad = summed, summed.clone()

    def _gradients(self, genotype: Genotype) -> Iterator[tuple[dict[nn.Parameter, Tensor], float]]:
        """For each weight, the gradients of the last subnet by its steps, and its `eta_b`."""
        supernet = self.context.supernet
        for address, node in subnet_of(supernet.space, genotype).graph.nodes.items():
            quantizer = supernet.node(address).weight
            if quantizer is None or node.op.weight is None:
                continue
            gradients = {
                parameter: parameter.grad - self._summed.get(parameter, 0)
                for parameter in quantizer.parameters()
                if parameter.grad is not None
            }
            if gradients:
                highest = max(quant.bits for quant in quantizer.quants)
                yield gradients, shrinkage(highest - node.op.weight.bits)


def shrinkage(fewer: int) -> float:
    """The factor `eta_b` of a precision with `fewer` bits than the highest: 1, .5, .1, .05, .01."""
    return 10.0 ** (-fewer / 2) if fewer % 2 == 0 else 5 * 10.0 ** (-(fewer + 1) / 2)
