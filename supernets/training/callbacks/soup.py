"""The uniform soup: the mean of the parameters at the ends of the last epochs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from supernets.training.callbacks.average import Average
from supernets.training.context import Moment, TrainingContext

_LAST = 0.25


class UniformSoup(Average):
    """The mean of all parameters over the ends of the epochs in the last quarter of the last phase.

    Izmailov et al. 2018 (algorithm 1, an average per epoch over the last quarter of training);
    Wortsman et al. 2022 name the mean of checkpoints the uniform soup. Their greedy soup, which
    adds a checkpoint only if the accuracy on validation data does not fall, is not offered: a
    training sees no validation data. A phase of fewer than eight epochs has a soup of one, the
    last, which changes nothing.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._count = torch.zeros((), dtype=torch.int64)

    def after_update(self, moment: Moment) -> None:
        plan, done = moment.plan, moment.step + 1
        start = plan.float_steps if plan.float_steps < plan.total else 0
        if done % plan.epoch == 0 and done - start > (1 - _LAST) * (plan.total - start):
            self._count += 1
            self.move(1 / int(self._count))

    def tensors(self) -> dict[str, Tensor]:
        return {**super().tensors(), "count": self._count}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        super().restore(tensors)
        self._count.copy_(tensors["count"])
