"""The predictor CQAP: a network over the bits of every layer, under granularity and symmetry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from predictors.features import Column, OneHot
from predictors.folded import Columns, Folded, Models
from predictors.ridge import Features
from search_spaces.space import SearchSpace

FloatArray = NDArray[np.float64]

_WIDTH, _STEPS, _BATCH, _RATE, _DECAY = 64, 200, 256, 3e-3, 0.3
_REACH = 4.0  # deviations to which a column is cut


class Cqap(Folded):
    """Networks that read the picked bits of every layer, with granularity and symmetry beside.

    As in EQ-Net's conditional quantization-aware accuracy predictor (Xu et al. 2023, section 3.3),
    bits are one-hot, the conditions stand beside them, and a smooth absolute error is minimised.
    A condition is a choice of its own here, for each layer or for all. Unlike the authors' seven
    hidden layers of 200, there are two of 64, for few measurements, and a linear map from the
    columns to the loss beside them.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`, such as
            `OneHot(space)`.
        steps: The number of steps of the training, over at most 256 measurements each.
    """

    def __init__(self, features: Features, *, steps: int = _STEPS) -> None:
        def learner(X: Columns, y: FloatArray, seen: NDArray[np.bool_]) -> Models:
            return _trained(X, y, seen, steps=steps)

        super().__init__(features, learner)


def cqap(space: SearchSpace, columns: Sequence[Column] = ()) -> Cqap:
    """Networks over the picks in a space and further columns."""
    return Cqap(OneHot(space, extra=columns))


class CqapNetworks(nn.Module):
    """The networks of `Cqap`, which share no weights.

    Args:
        models: The number of networks.
        columns: The number of columns.
        source: The source of the first weights.
    """

    def __init__(self, models: int, columns: int, source: torch.Generator) -> None:
        super().__init__()

        def weights(read: int) -> nn.Parameter:
            drawn = torch.randn(models, read, _WIDTH, generator=source)
            return nn.Parameter(drawn * math.sqrt(2 / read))

        def zeros(read: int, given: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(models, read, given))

        self.first, self.first_shift = weights(columns), zeros(1, _WIDTH)
        self.second, self.second_shift = weights(_WIDTH), zeros(1, _WIDTH)
        # Zero at first, so that equal losses are predicted exactly.
        self.last, self.last_shift = zeros(_WIDTH, 1), zeros(1, 1)
        self.linear = zeros(columns, 1)

    def forward(self, X: Tensor) -> Tensor:
        """The predictions `(models, n)` for columns `(n, columns)`."""
        X = X.expand(len(self.linear), -1, -1)
        hidden = torch.baddbmm(self.first_shift, X, self.first).relu()
        hidden = torch.baddbmm(self.second_shift, hidden, self.second).relu()
        return (torch.baddbmm(self.last_shift, hidden, self.last) + X @ self.linear)[..., 0]


def _trained(X: Columns, y: FloatArray, seen: NDArray[np.bool_], *, steps: int) -> Models:
    """The networks, trained with AdamW and a rate that rises and falls once."""
    mean, spread = X.mean(axis=0), X.std(axis=0)
    spread[spread < 1e-6] = 1.0

    def scaled(X: Columns) -> Tensor:
        return torch.from_numpy(np.clip((X - mean) / spread, -_REACH, _REACH))

    source = torch.Generator().manual_seed(0)
    networks = CqapNetworks(len(seen), X.shape[1], source)
    optimizer = torch.optim.AdamW(networks.parameters(), weight_decay=_DECAY)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    inputs, targets = scaled(X), torch.from_numpy(y).float().expand(len(seen), -1)
    learned = torch.from_numpy(seen).float()
    for _ in range(steps):
        part = torch.randperm(len(y), generator=source)[:_BATCH]
        found = networks(inputs[part])
        errors = F.smooth_l1_loss(found, targets[:, part], reduction="none") * learned[:, part]
        optimizer.zero_grad()
        (errors.sum(1) / learned[:, part].sum(1).clamp(min=1)).sum().backward()
        optimizer.step()
        rates.step()

    @torch.no_grad()
    def predicted(X: Columns) -> FloatArray:
        return networks(scaled(X)).double().numpy()

    return predicted
