"""The training of the network of the prior-fitted forecast, on curves drawn from the prior."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from predictors.curves.network import CurveNetwork, log_density
from predictors.curves.prior_fitted import scaling, shown_of
from predictors.curves.shapes import drawn

CURVES, ASKED = 128, 6
EPOCHS = (5, 200)
RATE, WARM = 1e-3, 0.05


def fitted(*, steps: int, seed: int, told: Callable[[int, float], None]) -> CurveNetwork:
    """A trained network.

    Each step draws curves from the prior and a number of known epochs, and asks for later values.

    Args:
        steps: The number of steps.
        seed: The seed of the weights and of all curves.
        told: Called with each step and its loss, the mean negative log density.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = CurveNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
    for step in range(1, steps + 1):
        loss = _loss(network, rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        told(step, float(loss.detach()))
    return network.eval()


def _share(step: int, steps: int) -> float:
    warm = WARM * steps
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _loss(network: CurveNetwork, rng: np.random.Generator) -> torch.Tensor:
    """The mean negative log density of later values, in the scale of the known ones."""
    epochs = round(math.exp(rng.uniform(*np.log(EPOCHS))))
    known = round(math.exp(rng.uniform(math.log(2), math.log(epochs - 1))))
    curves = drawn(rng, CURVES, epochs)
    asked = np.append(rng.integers(known, epochs, ASKED - 1), epochs - 1)
    offset, scale = scaling(curves[:, :known])
    scaled = torch.from_numpy((curves - offset) / scale).float()
    shown = shown_of(known)
    mixture = network(
        scaled[:, shown],
        torch.from_numpy(shown + 1.0).float(),
        torch.from_numpy(asked + 1.0).float(),
        float(epochs),
    )
    return -log_density(mixture, scaled[:, asked].clamp(-1e4, 1e4)).mean()
