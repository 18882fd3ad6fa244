"""Complexity-aware sampling: all subnets of a step have about the same cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.space import Genotype, IntArray, SearchSpace, as_genotypes
from supernets.training.context import Batch, Cost, Moment, TrainingContext
from supernets.training.samplers.precisions import drawn, with_most_bits
from supernets.training.samplers.sampler import Sampler, Sandwich
from supernets.training.samplers.windows import Windows

_BANKS = 8
_SMALLEST = 3  # of different sizes, each for a range of banks
_KEPT = 50  # subnets in the memory of a bank
_FROM_MEMORY = 0.2
_SIZES = 65
_GOLDEN = (math.sqrt(5) - 1) / 2


class ComplexityAware(Sampler):
    """Complexity-aware sampling of ElasticViT (Tang et al. 2023, sections 3.2 and 3.3).

    Costs are divided into eight banks. In every step all random subnets are of one bank, and the
    bank moves up, down or not at all, with equal probabilities. The smallest subnet of the step is
    one of three, each for a third of the banks, so that no step mixes subnets of very different
    costs. Each bank remembers the 50 best subnets of its own. Once half of these places are taken,
    a random subnet is with probability 0.2 drawn from the memory, in proportion to the exponential
    of its score.

    What differs from the paper: the banks are windows of BitOPs between quantiles of those of
    random subnets, instead of fixed numbers of MFLOPs. A subnet
    is scored when it is trained, by the loss of the largest subnet minus its own; the paper scores
    the whole memory four times an epoch on a batch, which would triple the time of our short
    epochs. The largest subnet stays in every step, since it is our teacher; the paper has teachers
    of its own. The paper's preference for wide and shallow subnets is left out: no measurement
    shows that it holds outside of vision transformers, and a space does not say which of its
    choices are widths.
    """

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._bank = torch.tensor([_BANKS // 2])
        self._rows = torch.zeros((_BANKS, _KEPT, len(self.space.choices)), dtype=torch.int64)
        self._forget()
        self._phases: dict[bool, _Phase] = {}

    def draw(self, moment: Moment, batch: Batch, rng: np.random.Generator) -> Sandwich:
        phase = self._phase(quantized=moment.quantized)
        if moment.step == moment.plan.float_steps:
            self._forget()  # scores in full precision say nothing about low precisions
        bank = int(np.clip(int(self._bank) + rng.integers(-1, 2), 0, _BANKS - 1))
        self._bank[0] = bank
        rows = phase.windows.drawn(rng, bank, self.context.settings.random_subnets)
        scores = self._scores[bank].numpy()
        taken = np.flatnonzero(np.isfinite(scores))
        if len(taken) >= _KEPT / 2:
            raised = np.exp(scores[taken] - scores[taken].max())
            for place in np.flatnonzero(rng.random(len(rows)) < _FROM_MEMORY):
                pick = rng.choice(taken, p=raised / raised.sum())
                rows[place] = self._rows[bank, pick].numpy()
        smallest = phase.smallest(bank, rows)
        return Sandwich(self.space.largest, tuple(as_genotypes(rows)), smallest)

    def tell(self, moment: Moment, subnets: Sandwich, losses: Sequence[float]) -> None:
        largest, *others = losses
        scored = dict(zip(subnets.students, (largest - loss for loss in others), strict=True))
        drawn_here = [genotype for genotype in subnets.random if genotype in scored]
        if drawn_here:
            windows = self._phase(quantized=moment.quantized).windows
            for genotype, bank in zip(drawn_here, windows.of(np.array(drawn_here)), strict=True):
                self._remember(int(bank), genotype, scored[genotype])

    def _remember(self, bank: int, genotype: Genotype, score: float) -> None:
        """Put a subnet in the place of the worst of its bank, if it is better."""
        row, scores = torch.tensor(genotype), self._scores[bank]
        held = (self._rows[bank] == row).all(dim=1) & scores.isfinite()
        place = int(held.int().argmax()) if held.any() else int(scores.argmin())
        if held.any() or score > scores[place]:
            self._rows[bank, place], scores[place] = row, score

    def _forget(self) -> None:
        self._scores = torch.full((_BANKS, _KEPT), -math.inf, dtype=torch.float64)

    def _phase(self, *, quantized: bool) -> _Phase:
        if quantized not in self._phases:
            self._phases[quantized] = _Phase.of(self.space, self.context.cost, quantized=quantized)
        return self._phases[quantized]

    def tensors(self) -> dict[str, Tensor]:
        return {"bank": self._bank, "rows": self._rows, "scores": self._scores}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._bank, self._rows, self._scores = (
            tensors[name].clone() for name in ("bank", "rows", "scores")
        )


@dataclass(frozen=True, eq=False)
class _Phase:
    """The banks of a phase of the training, and subnets of rising size.

    Attributes:
        windows: The banks.
        sizes: Genotypes in which every choice stands at about the same share of its options,
            `(sizes, choices)`, from the smallest subnet on.
        cost: The cost of each of `sizes`.
    """

    windows: Windows
    sizes: IntArray
    cost: NDArray[np.float64]

    @classmethod
    def of(cls, space: SearchSpace, cost: Cost, *, quantized: bool) -> _Phase:
        draw = partial(drawn, space, quantized=quantized)
        shares = np.linspace(0, 1, _SIZES)[:, None]
        ahead = np.arange(len(space.counts)) * _GOLDEN % 1  # choices rise one after another
        sizes = np.floor(shares * (space.counts - 1) + ahead).astype(np.int64)
        if not quantized:
            sizes[1:] = with_most_bits(space, sizes[1:])
        sizes = space.canonical_array(sizes)
        return cls(Windows.spread(draw, cost, _BANKS), sizes, cost(sizes))

    def smallest(self, bank: int, rows: IntArray) -> Genotype:
        """The smallest subnet for a step on `bank`, no dearer than the bank or any of `rows`."""
        group = bank * _SMALLEST // _BANKS
        if group == 0:
            return as_genotypes(self.sizes[:1])[0]
        first = math.ceil(group * _BANKS / _SMALLEST)
        limit = min([np.exp(self.windows.edges[first]), *self.windows.cost(rows)])
        fitting = [0, *np.flatnonzero(self.cost <= limit)]
        return as_genotypes(self.sizes[fitting[-1:]])[0]
