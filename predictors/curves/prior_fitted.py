"""Forecasts by a network that was trained on curves of a prior: no fit, one pass per forecast."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from predictors.curves.forecast import Forecast, checked
from predictors.curves.network import SHOWN, CurveNetwork

FloatArray = NDArray[np.float64]
WEIGHTS = Path(__file__).with_name("prior_fitted.safetensors")


def prior_fitted(curves: FloatArray, epochs: int) -> Forecast:
    """The forecast of a transformer trained on the prior of `shapes` (Adriaensen et al. 2023).

    `python -m benchmarks.curve_network` trained the weights, which the package holds.
    """
    return forecast(_shipped(), curves, epochs)


def forecast(network: CurveNetwork, curves: FloatArray, epochs: int) -> Forecast:
    """The forecast of a given network; raises as `CurveModel` says."""
    held = checked(curves, epochs)
    shown = shown_of(held.shape[1])
    offset, scale = scaling(held)
    values = (held[:, shown] - offset) / scale
    with torch.inference_mode():
        weights, means, logs = network(
            torch.from_numpy(values).float(),
            torch.from_numpy(shown + 1.0).float(),
            torch.tensor([float(epochs)]),
            float(epochs),
        )
    weights, means, logs = (x[:, 0].double().numpy() for x in (weights, means, logs))
    return Forecast(np.exp(weights), offset + scale * means, scale * np.exp(logs))


def scaling(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What is subtracted from curves `(n, t)` and what they are divided by, each `(n, 1)`."""
    width = np.ptp(curves, axis=1)[:, None]
    least = 1e-9 * np.maximum(np.abs(curves).max(axis=1)[:, None], 1e-9)
    return curves[:, -1:], np.maximum(width, least)


def shown_of(known: int) -> NDArray[np.intp]:
    """The places of the values that a network sees: all, or `SHOWN` evenly spread ones."""
    return np.unique(np.linspace(0, known - 1, min(known, SHOWN)).round().astype(np.intp))


@cache
def _shipped() -> CurveNetwork:
    network = CurveNetwork().eval()
    network.load_state_dict(load_file(WEIGHTS))
    return network
