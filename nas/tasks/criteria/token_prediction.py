"""The criterion of token prediction: the cross entropy of every token."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nas.facts.metric import MetricWords
from nas.tasks.criteria.distribution import (
    divergence,
    frequency_loss,
    require_labels,
    require_smoothing,
    rows_of,
)
from nas.tasks.criterion import Criterion, CriterionError, Metric, percent, require_samples
from search_spaces.ops import Shape


@dataclass(frozen=True)
class TokenPrediction(Criterion):
    """Outputs are logits `(n, tokens, vocabulary)`, and targets are token numbers `(n, tokens)`.

    The loss of a sample is the mean cross entropy of its tokens, in nats.

    Attributes:
        label_smoothing: The share of each target that training spreads over the vocabulary.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require_smoothing(self.label_smoothing)

    @property
    def error(self) -> MetricWords:
        """Cross entropy in nats per token."""
        return MetricWords("cross entropy", "nats per token", 3)

    @property
    def further(self) -> Mapping[str, Metric]:
        """Perplexity, and the share of tokens that are answered rightly."""
        return {
            "perplexity": Metric(MetricWords("perplexity"), perplexity),
            "token_accuracy": Metric(
                MetricWords("token accuracy", "%", best=100.0), token_error, token_errors
            ),
        }

    def check(self, output: Shape, targets: Tensor) -> None:
        """Refuse targets that are no tokens of the output's vocabulary."""
        if len(output) < 2:
            raise CriterionError(
                f"outputs of token prediction have the shape (tokens, vocabulary), given {output}; "
                "for one class per sample, take the criterion of a classification"
            )
        require_labels("tokens", output, output[:-1], targets)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """The cross entropy per token with smoothed targets, in nats."""
        rows, labels = _tokens_of(out, target)
        return F.cross_entropy(rows, labels, label_smoothing=self.label_smoothing)

    def total(self, out: Tensor, target: Tensor) -> Tensor:
        """The sum over samples of the cross entropy per token without smoothing, in nats."""
        return self.losses(out, target).sum()

    def distance(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The divergence per token from the teacher's distribution, in nats."""
        return divergence(out, teacher)

    def log_probabilities(self, out: Tensor) -> Tensor:
        """The logarithm of the probability of every token."""
        return out.log_softmax(dim=-1)

    def losses(self, out: Tensor, target: Tensor) -> Tensor:
        """The mean cross entropy of the tokens of each sample, in nats."""
        each = F.cross_entropy(*_tokens_of(out, target), reduction="none")
        return each.reshape(len(out), -1).mean(dim=1)

    def guess(self, targets: Tensor) -> float:
        """The loss of always answering how often each token occurs."""
        _tokens_of(targets[..., None], targets)
        return frequency_loss(targets, smoothing=self.label_smoothing)

    def constant_error(self, targets: Tensor) -> float:
        """The cross entropy of always answering how often each token occurs, in nats."""
        return frequency_loss(targets, smoothing=0.0)

    def agreement(self, out: Tensor, other: Tensor) -> float | None:
        """The percentage of tokens to which both outputs give the same answer."""
        require_samples(out, other, out.shape)
        return percent(out.argmax(dim=-1) == other.argmax(dim=-1))


def _tokens_of(out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if out.ndim < 3:
        raise CriterionError(
            f"token prediction compares outputs (n, tokens, vocabulary), given {tuple(out.shape)}"
        )
    return rows_of(out, target)


def perplexity(out: Tensor, target: Tensor) -> float:
    """The exponential of the cross entropy per token."""
    return math.exp(float(F.cross_entropy(*_tokens_of(out, target))))


def token_error(out: Tensor, target: Tensor) -> float:
    """The percentage of tokens that are answered wrongly."""
    return percent(out.argmax(dim=-1) != target)


def token_errors(out: Tensor, target: Tensor) -> Tensor:
    """The percentage of wrong tokens of each sample, `(n,)`."""
    return 100.0 * (out.argmax(dim=-1) != target).double().flatten(1).mean(dim=1)
