"""The base of averages of the parameters over the steps of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from supernets.training.callbacks.callback import Callback
from supernets.training.context import TrainingContext


class Average(Callback):
    """Base of averages: a second value of each parameter, which replaces the parameter at the end.

    The average of a quantizer step is geometric, since the parameter is its logarithm. Of two
    averages in a training, the one that is named last replaces the parameters.

    Args:
        context: The training.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._averages = {name: p.detach().clone() for name, p in self._parameters()}

    def move(self, share: float) -> None:
        """Move the averages by a share, 0 to 1, of the way to the present parameters."""
        for name, parameter in self._parameters():
            self._averages[name].lerp_(parameter.detach(), share)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._averages)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, average in self._averages.items():
            average.copy_(tensors[name])

    @torch.no_grad()
    def finish(self) -> None:
        for name, parameter in self._parameters():
            parameter.copy_(self._averages[name])

    def _parameters(self) -> Iterator[tuple[str, Tensor]]:
        return self.context.supernet.named_parameters()
