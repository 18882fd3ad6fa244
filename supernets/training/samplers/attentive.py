"""Attentive sampling: of a few subnets of about the same cost, the best or the worst is trained."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from search_spaces.space import as_genotypes
from supernets.training.context import Batch, Moment, TrainingContext
from supernets.training.samplers.precisions import drawn
from supernets.training.samplers.sampler import Sampler, Sandwich
from supernets.training.samplers.windows import Windows

_CANDIDATES = 3
_WINDOWS = 40


class AttentiveBest(Sampler):
    """BestUp-3 of AttentiveNAS (Wang et al. 2021, section 4): the subnets that will be searched.

    Each random subnet of a step is the best of three candidates by the loss on the batch of the
    step. The candidates have about the cost of a target subnet, which is drawn uniformly. The
    paper's windows of 25 MFLOPs are here 40 windows of BitOPs; the candidates of a window are found
    by rejection instead of by tables of conditional probabilities.

    Attributes:
        sign: 1 to train the candidate of the lowest loss, -1 for that of the highest.
    """

    sign: ClassVar[int] = 1

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._windows: dict[bool, Windows] = {}

    def draw(self, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
        windows, count = self._of_phase(moment), self.context.settings.random_subnets
        targets = windows.of(windows.draw(rng, count)).tolist()
        found = [as_genotypes(windows.drawn(rng, target, _CANDIDATES)) for target in targets]
        every = list(dict.fromkeys(genotype for candidates in found for genotype in candidates))
        losses = self.context.losses(every, batch, quantize=moment.quantized) if every else []
        ranked = dict(zip(every, self.sign * np.array(losses), strict=True))
        chosen = tuple(min(candidates, key=ranked.__getitem__) for candidates in found)
        return Sandwich(self.space.largest, chosen, self.space.smallest)

    def _of_phase(self, moment: Moment) -> Windows:
        quantized = moment.quantized
        if quantized not in self._windows:
            draw = partial(drawn, self.space, quantized=quantized)
            self._windows[quantized] = Windows.spread(draw, self.context.cost, _WINDOWS)
        return self._windows[quantized]


class AttentiveWorst(AttentiveBest):
    """WorstUp-3 of AttentiveNAS: the candidates of the highest loss, which lag behind, are trained.

    See `AttentiveBest`.
    """

    sign: ClassVar[int] = -1
