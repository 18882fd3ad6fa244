"""MeCo: how independent the channels of each layer are for one sample."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from predictors.proxies.layers import channels_last
from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject


def meco(subject: Subject) -> Mapping[str, Value]:
    """The proxy `meco`: the sum over layers of the least eigenvalue of a correlation matrix.

    The matrix holds the correlations of the channels that a layer gives for the first sample of the
    batch, over its positions (Jiang et al. 2023; they draw a random sample). The correlations of a
    channel that is constant are 0. With no more positions than channels, the least eigenvalue is 0.
    Cost: one forward pass.
    """
    layers = {
        path: sum(_least(channels_last(y, subject.layers[path])[0]) for y in values)
        for path, values in subject.given.items()
    }
    return {"meco": Value.summed(layers)}


def _least(rows: Tensor) -> float:
    """The least eigenvalue of the correlations of columns; `rows` is `(positions, channels)`."""
    if len(rows) < 2:
        return 0.0
    correlation = torch.corrcoef(rows.detach().double().cpu().T).nan_to_num(0.0)
    return max(float(torch.linalg.eigvalsh(torch.atleast_2d(correlation))[0]), 0.0)


MECO = Proxy(meco, {"meco": True})
