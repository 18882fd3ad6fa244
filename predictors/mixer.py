"""The predictor ParZC: a Bayesian mixer of the statistics of every layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from predictors.features import Column, OneHot
from predictors.folded import Columns, Folded, Models, with_constant
from predictors.ridge import Features
from search_spaces.space import IntArray, SearchSpace

FloatArray = NDArray[np.float64]

PATCHES, PATCH, CHANNELS = 8, 16, 16
_STEPS, _RATE, _DECAY = 100, 3e-3, 0.1
_KNOTS = 16  # quantiles at which scores and losses are matched
_LEAST = 1e-6  # deviation below which a column counts as constant
_REACH = 4.0  # deviations to which a column is cut


class Mixer(Folded):
    """A mixer that learns the order of networks from many columns, such as proxies of each layer.

    As in ParZC (Dong et al. 2025, section 3), the columns are mapped to patches, and each patch to
    channels by a linear map whose weights are random: a learned mean and a learned deviation.
    One residual block mixes patches, one mixes channels, and a second random map turns the mean
    over patches into a score. Unlike the authors' code, it has no norm before this map, which would
    bound the score. The networks minimise `diff_kendall`; scores then get the distribution of the
    losses. Predictions take the mean weights.

    There are five networks, each fitted without a fold, see `Folded`. The predicted deviation also
    grows with what no measurement tells: the length of a network's columns outside of the span of
    the measured ones, see `Principal`.

    For the statistics of layers, give features that hold all statistics of the first layer, then
    those of the second, and so on, 0 where a network has no such layer.

    Args:
        features: A function of genotypes, `(n, choices)` to `(n, columns)`.
        steps: The number of steps of the training, over all measurements each.
    """

    def __init__(self, features: Features, *, steps: int = _STEPS) -> None:
        super().__init__(features, self._learned)
        self._steps = steps

    def _learned(self, X: Columns, y: FloatArray, seen: NDArray[np.bool_]) -> Models:
        self._principal = Principal(X)
        return _trained(self._principal, X, y, seen, steps=self._steps)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The mean over the models and the standard deviation of the loss, each `(n,)`."""
        mean, spread = super().predict(genotypes)
        beyond = self._principal.beyond(with_constant(self.features, genotypes))
        return mean, spread * np.sqrt(1 + beyond)


def mixer(space: SearchSpace, columns: Sequence[Column] = ()) -> Mixer:
    """A mixer of the picks in a space and further columns."""
    return Mixer(OneHot(space, extra=columns))


def diff_kendall(scores: Tensor, targets: Tensor, seen: Tensor, *, slope: float = 1.0) -> Tensor:
    """Minus a differentiable Kendall's tau of each row of scores, `(models,)`.

    It is the mean of `s(slope (a_i - a_j)) s(slope (y_i - y_j))` over all pairs of two seen
    networks, with `s(z) = tanh(z / 2)` in place of the sign (ParZC, section 3.3). Targets are
    standardised: differences far below 1 would make it a covariance.

    Args:
        scores: The scores a of each model, `(models, n)`.
        targets: The targets y, `(n,)`.
        seen: Which networks each model learns, 1 or 0, `(models, n)`.
        slope: The slope.
    """
    apart = torch.tanh(slope / 2 * (scores[:, :, None] - scores[:, None]))
    wanted = torch.tanh(slope / 2 * (targets[:, None] - targets))
    pairs = seen[:, :, None] * seen[:, None] * (1 - torch.eye(len(targets)))
    return -(apart * wanted * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)


class Bayesian(nn.Module):
    """Linear maps whose weights are drawn anew in each pass of the training.

    Args:
        models: The number of maps, each for its own inputs.
        read: The number of inputs.
        given: The number of outputs.
        source: The source of all draws.
    """

    def __init__(self, models: int, read: int, given: int, source: torch.Generator) -> None:
        super().__init__()
        self.mean = nn.Parameter(_weights(models, read, given, source))
        self.rho = nn.Parameter(torch.full((models, read, given), -5.0))
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        """The outputs `(models, m, given)` for `x` `(models, m, read)`."""
        if not self.training:
            return x @ self.mean
        drawn = torch.randn(self.mean.shape, generator=self.source)
        return x @ (self.mean + F.softplus(self.rho) * drawn)


class Residual(nn.Module):
    """Two linear maps with a GELU between them, added to their input, for each of several models.

    Args:
        models: The number of models.
        width: The width of the input and the output.
        hidden: The width between the maps.
        source: The source of the first weights.
    """

    def __init__(self, models: int, width: int, hidden: int, source: torch.Generator) -> None:
        super().__init__()
        self.width = width
        self.up = nn.Parameter(_weights(models, width, hidden, source))
        self.shift = nn.Parameter(torch.zeros(models, 1, hidden))
        self.down = nn.Parameter(_weights(models, hidden, width, source) / 2)

    def forward(self, x: Tensor) -> Tensor:
        """The sum `(models, n, rows, width)` for `x` of that shape."""
        flat = F.layer_norm(x, (self.width,)).flatten(1, 2)
        mixed = F.gelu(torch.baddbmm(self.shift, flat, self.up)) @ self.down
        return x + mixed.reshape(x.shape)


class MixerNetworks(nn.Module):
    """The networks of `Mixer`, which share no weights.

    Args:
        models: The number of networks.
        columns: The number of columns.
        source: The source of all draws.
    """

    def __init__(self, models: int, columns: int, source: torch.Generator) -> None:
        super().__init__()
        self.patches = nn.Parameter(_weights(models, columns, PATCHES * PATCH, source))
        self.embed = Bayesian(models, PATCH, CHANNELS, source)
        self.over_patches = Residual(models, PATCHES, 2 * PATCHES, source)
        self.over_channels = Residual(models, CHANNELS, 2 * CHANNELS, source)
        self.head = Bayesian(models, CHANNELS, 1, source)

    def forward(self, X: Tensor) -> Tensor:
        """The scores `(models, n)` for columns `(n, columns)`."""
        x = X @ self.patches
        models, count = x.shape[:2]
        x = self.embed(x.reshape(models, -1, PATCH)).reshape(models, count, PATCHES, CHANNELS)
        x = self.over_channels(self.over_patches(x.transpose(2, 3)).transpose(2, 3))
        return self.head(x.mean(2))[..., 0]


def _weights(models: int, read: int, given: int, source: torch.Generator) -> Tensor:
    return torch.randn(models, read, given, generator=source) / math.sqrt(read)


def _trained(
    prepared: Principal, X: Columns, y: FloatArray, seen: NDArray[np.bool_], *, steps: int
) -> Models:
    """The networks, trained with AdamW and a rate that rises and falls once."""
    inputs, targets = prepared(X), torch.from_numpy(y).float()
    learned = torch.from_numpy(seen).float()
    networks = MixerNetworks(len(seen), inputs.shape[1], torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(networks.parameters(), weight_decay=_DECAY)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        diff_kendall(networks(inputs), targets, learned).sum().backward()
        optimizer.step()
        rates.step()
    networks.eval()

    @torch.no_grad()
    def scores(X: Columns) -> FloatArray:
        return networks(prepared(X)).double().numpy()

    maps = [_matched(found[own], y[own]) for found, own in zip(scores(X), seen, strict=True)]
    return lambda X: np.array(
        [to_loss(found) for to_loss, found in zip(maps, scores(X), strict=True)]
    )


class Principal:
    """Standardised columns along the principal directions of the measured networks.

    There are fewer directions than measurements. A linear map of the columns loses nothing by them
    and is learned faster.

    Args:
        X: The columns of the measured networks, `(n, columns)`.
    """

    def __init__(self, X: Columns) -> None:
        self._mean, self._spread = X.mean(axis=0), X.std(axis=0)
        self._spread[self._spread < _LEAST] = 1.0
        self._center = np.zeros_like(self._mean)
        self._center = self._standard(X).mean(axis=0)
        _, sizes, turned = np.linalg.svd(self._standard(X), full_matrices=False)
        self._turned = turned[: max(1, int((sizes > 1e-3 * sizes[0]).sum()))].T
        self._square = float((sizes**2).sum() / len(X)) or 1.0

    def _standard(self, X: Columns) -> Columns:
        return np.clip((X - self._mean) / self._spread, -_REACH, _REACH) - self._center

    def __call__(self, X: Columns) -> Tensor:
        """The columns `X` along the directions, `(n, directions)`, with a mean square of 1."""
        unit = np.sqrt(self._square / self._turned.shape[1], dtype=np.float32)
        return torch.from_numpy(self._standard(X) @ self._turned / unit)

    def beyond(self, X: Columns) -> FloatArray:
        """The squared length of `X` outside of the directions, over that of the measured, `(n,)`.

        It is zero for networks that were measured.
        """
        standard = self._standard(X).astype(np.float64)
        within = (standard @ self._turned) ** 2
        left = (standard**2).sum(axis=1) - within.sum(axis=1)
        return np.maximum(left, 0.0) / self._square


def _matched(scores: FloatArray, losses: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """The rising map that gives scores the distribution of losses, straight beyond both ends."""
    shares = np.linspace(0, 1, min(len(losses), _KNOTS))
    knots, first = np.unique(np.quantile(scores, shares), return_index=True)
    levels = np.quantile(losses, shares)[first]
    slope = float(losses.std() / max(scores.std(), 1e-9))

    def to_loss(scores: FloatArray) -> FloatArray:
        beyond = scores - np.clip(scores, knots[0], knots[-1])
        return np.interp(scores, knots, levels) + slope * beyond

    return to_loss
