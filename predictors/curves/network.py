"""The network of the prior-fitted forecast: a small transformer from known values to a mixture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS, LAYERS, HEADS, COMPONENTS = 64, 3, 4, 5
SHOWN = 32  # the most known values that the network sees


class CurveNetwork(nn.Module):
    """A transformer whose queries, one per later epoch, read the known values of a curve.

    As in Adriaensen et al. 2023, section 4.2, except that values are scaled by the known ones, and
    the output is a mixture of normals in place of a histogram, since a scaled value has no bounds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known = nn.Linear(3, CHANNELS)
        self.asked = nn.Linear(2, CHANNELS)
        layer = nn.TransformerEncoderLayer(
            CHANNELS, HEADS, 2 * CHANNELS, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.out = nn.Linear(CHANNELS, 3 * COMPONENTS)

    def forward(self, values: Tensor, epochs: Tensor, later: Tensor, horizon: float) -> Mixture:
        """The mixture for each later epoch.

        Args:
            values: The scaled known values, `(n, t)`.
            epochs: Their epochs, `(t,)`, from 1.
            later: The asked epochs, `(q,)`.
            horizon: The number of epochs of the whole training.

        Returns:
            Log weights, means and log deviations, each `(n, q, components)`.
        """
        count, known = len(values), len(epochs)
        places = _times(epochs, horizon).expand(count, -1, -1)
        tokens = self.known(torch.cat([places, values[..., None]], dim=-1))
        queries = self.asked(_times(later, horizon)).expand(count, -1, -1)
        hidden = self.layers(torch.cat([tokens, queries], dim=1), _reads(known, len(later)))
        logits, means, scales = self.out(hidden[:, known:]).chunk(3, dim=-1)
        return logits.log_softmax(dim=-1), means, scales.clamp(-7.0, 5.0)


Mixture = tuple[Tensor, Tensor, Tensor]


def _times(epochs: Tensor, horizon: float) -> Tensor:
    return torch.stack([epochs / horizon, epochs.log() / 4], dim=-1)


def _reads(known: int, asked: int) -> Tensor:
    """What a token must not read: every one reads the known values, and a query itself."""
    hidden = torch.ones(known + asked, known + asked, dtype=torch.bool)
    hidden[:, :known] = False
    return hidden & ~torch.eye(known + asked, dtype=torch.bool)


def log_density(mixture: Mixture, values: Tensor) -> Tensor:
    """The log density of `values` `(n, q)` in a mixture."""
    weights, means, scales = mixture
    standard = (values[..., None] - means) * (-scales).exp()
    each = weights - 0.5 * standard**2 - scales - 0.9189385332046727  # log(sqrt(2 pi))
    return each.logsumexp(dim=-1)
