"""Quantizer steps over which subnets quarrel rest for a while."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from search_spaces.space import Genotype
from supernets.training.callbacks.callback import Callback
from supernets.training.context import Moment, TrainingContext

_WINDOW = 50  # training steps
_ERRORS = 2  # standard errors of a share of signs


class ConflictFreezing(Callback):
    """Quantizer steps whose gradient turns against itself are frozen for a while.

    Jiang et al. 2024 ("GAQAT") find that two losses pull a quantizer's step to opposite sides,
    measure the disorder of its gradient's signs, and freeze steps by it. Here the subnets of all
    passes pull at a step. The disorder is the share of passes whose gradient has another sign than
    that of the pass before, among the passes that have a gradient. After every 50 training steps of
    the quantized phase, those steps are frozen for the next 50 whose share is more than two
    standard errors above one half, the share of random signs. The window and the threshold are not
    those of the source.

    A frozen step keeps its value, and its gradient is zeroed. Its disorder is measured on.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        groups = context.supernet.parameter_groups()
        self._steps = [*groups["weight_steps"], *groups["input_steps"]]
        count = sum(step.numel() for step in self._steps)
        like = next(context.supernet.parameters())
        self._sign, self._turns, self._passes = (like.new_zeros(count) for _ in range(3))
        self._frozen = torch.zeros(count, dtype=torch.bool, device=like.device)
        self._summed = like.new_zeros(count)
        self._held: list[Tensor] = []

    def before_step(self, moment: Moment) -> None:
        self._summed.zero_()

    @torch.no_grad()
    def after_pass(self, moment: Moment, place: int, genotype: Genotype) -> None:
        if not moment.quantized or not self._steps:
            return
        summed = torch.cat([_gradient(step).reshape(-1) for step in self._steps])
        own = summed - self._summed
        self._summed = summed
        self.context.ranks.add(own)
        sign = own.sign()
        self._turns += sign * self._sign == -1
        self._passes += sign * self._sign != 0
        self._sign = torch.where(sign == 0, self._sign, sign)

    @torch.no_grad()
    def before_update(self, moment: Moment) -> None:
        self._held = [step.clone() for step in self._steps] if moment.quantized else []
        for step, frozen in self._split(self._frozen):
            if step.grad is not None:
                step.grad.masked_fill_(frozen, 0.0)

    @torch.no_grad()
    def after_update(self, moment: Moment) -> None:
        if not moment.quantized:
            return
        for (step, frozen), before in zip(self._split(self._frozen), self._held, strict=True):
            step.copy_(torch.where(frozen, before, step))
        if (moment.step - moment.plan.float_steps + 1) % _WINDOW == 0:
            self._frozen = is_disordered(self._turns, self._passes)
            self._turns.zero_()
            self._passes.zero_()

    def _split(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Every step with its part of a tensor of all steps in a row."""
        parts = flat.split([step.numel() for step in self._steps])
        pairs = zip(self._steps, parts, strict=True)
        return [(step, part.view_as(step)) for step, part in pairs]

    def tensors(self) -> dict[str, Tensor]:
        return {
            "sign": self._sign,
            "turns": self._turns,
            "passes": self._passes,
            "frozen": self._frozen,
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])


def is_disordered(turns: Tensor, passes: Tensor) -> Tensor:
    """Whether gradients turn more often than random signs do.

    Args:
        turns: The number of changes of sign.
        passes: The number of pairs of neighbours that were compared.
    """
    return turns > passes / 2 + _ERRORS * passes.sqrt() / 2


def _gradient(step: Tensor) -> Tensor:
    return torch.zeros_like(step) if step.grad is None else step.grad
