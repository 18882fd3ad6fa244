"""The criterion of a classification: cross entropy, and the percentage of right answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
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

_TOP = 5
_BINS = 15  # of Guo et al. 2017, section 3


@dataclass(frozen=True)
class Classification(Criterion):
    """Outputs are logits `(n, classes)`, and targets are classes `(n,)`, counted from 0.

    The loss of a sample is 100 if the largest logit is that of another class, else 0: the mean is
    the percentage of wrong answers.

    Attributes:
        label_smoothing: The share of each target that training spreads evenly over all classes
            (Szegedy et al. 2016, section 7).
    """

    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        require_smoothing(self.label_smoothing)

    @property
    def error(self) -> MetricWords:
        """Wrong answers in percent."""
        return MetricWords("error", "%")

    @property
    def shown(self) -> MetricWords:
        """Right answers in percent."""
        return MetricWords("accuracy", "%", best=100.0)

    @property
    def further(self) -> Mapping[str, Metric]:
        """Metrics beside the accuracy: of rankings, of probabilities, and of unequal classes."""
        return {
            "top5": Metric(MetricWords("top-5 accuracy", "%", best=100.0), top5_error, top5_misses),
            "ece": Metric(MetricWords("expected calibration error", "%"), calibration_error),
            "nll": Metric(
                MetricWords("negative log-likelihood", "nats", 3), negative_log, negative_logs
            ),
            "macro_f1": Metric(MetricWords("macro F1", "%", best=100.0), macro_f1_loss),
            "balanced_accuracy": Metric(
                MetricWords("balanced accuracy", "%", best=100.0), balanced_error
            ),
        }

    def check(self, output: Shape, targets: Tensor) -> None:
        """Refuse targets that are no classes of the output."""
        if len(output) != 1:
            raise CriterionError(
                f"outputs of a classification have the shape (classes,), given {output}; for one "
                "class per token, take the criterion of token prediction"
            )
        require_labels("classes", output, (), targets)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """The cross entropy with smoothed targets, in nats."""
        rows, labels = _answered(out, target)
        return F.cross_entropy(rows, labels, label_smoothing=self.label_smoothing)

    def total(self, out: Tensor, target: Tensor) -> Tensor:
        """The summed cross entropy without smoothing, in nats."""
        return F.cross_entropy(*_answered(out, target), reduction="sum")

    def distance(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The divergence from the teacher's distribution, in nats."""
        return divergence(out, teacher)

    def log_probabilities(self, out: Tensor) -> Tensor:
        """The logarithm of the probability of every class."""
        return out.log_softmax(dim=-1)

    def losses(self, out: Tensor, target: Tensor) -> Tensor:
        """100 for a wrong answer, 0 for a right one."""
        rows, labels = _answered(out, target)
        return 100.0 * (rows.argmax(dim=1) != labels).float()

    def guess(self, targets: Tensor) -> float:
        """The loss of always answering how often each class occurs."""
        _answered(targets[..., None], targets)
        return frequency_loss(targets, smoothing=self.label_smoothing)

    def constant_error(self, targets: Tensor) -> float:
        """The percentage of samples that are not of the most frequent class."""
        return 100.0 - percent(targets == targets.mode().values)

    def agreement(self, out: Tensor, other: Tensor) -> float | None:
        """The percentage of samples to which both outputs give the same answer."""
        require_samples(out, other, out.shape)
        return percent(out.argmax(dim=1) == other.argmax(dim=1))


def _answered(out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if out.ndim != 2:
        raise CriterionError(
            f"a classification compares outputs (n, classes), given {tuple(out.shape)}"
        )
    return rows_of(out, target)


def top5_error(out: Tensor, target: Tensor) -> float:
    """The percentage of samples whose class is not among the five largest logits."""
    return float(top5_misses(out, target).double().mean())


def top5_misses(out: Tensor, target: Tensor) -> Tensor:
    """100 for a sample whose class is not among the five largest logits, else 0, `(n,)`."""
    best = out.topk(min(_TOP, out.shape[1]), dim=1).indices
    return 100.0 * (best != target[:, None]).all(dim=1).float()


def calibration_error(out: Tensor, target: Tensor) -> float:
    """The expected calibration error in percent, with 15 bins (Guo et al. 2017, equation 3)."""
    confidence, answers = out.double().softmax(dim=1).max(dim=1)
    right = (answers == target).double()
    bins = (confidence * _BINS).ceil().long().clamp(1, _BINS)
    gaps = torch.zeros(_BINS + 1, dtype=torch.float64, device=out.device)
    gaps.index_add_(0, bins, confidence - right)
    return 100.0 * float(gaps.abs().sum()) / len(out)


def negative_log(out: Tensor, target: Tensor) -> float:
    """The mean negative log-likelihood of the classes, in nats, without smoothing."""
    return float(F.cross_entropy(out.double(), target))


def negative_logs(out: Tensor, target: Tensor) -> Tensor:
    """The negative log-likelihood of the class of each sample, in nats, `(n,)`."""
    return F.cross_entropy(out.double(), target, reduction="none")


def macro_f1_loss(out: Tensor, target: Tensor) -> float:
    """100 less the F1 score in percent, the mean over all classes that occur or are answered."""
    answers, classes = out.argmax(dim=1), out.shape[1]
    both = target[answers == target].bincount(minlength=classes).double()
    either = target.bincount(minlength=classes) + answers.bincount(minlength=classes)
    scores = 2 * both[either > 0] / either[either > 0]
    return 100.0 - 100.0 * float(scores.mean())


def balanced_error(out: Tensor, target: Tensor) -> float:
    """The percentage of wrong answers, the mean over all classes that occur."""
    wrong, counts = out.argmax(dim=1) != target, target.bincount()
    shares = target[wrong].bincount(minlength=len(counts)) / counts.double()
    return 100.0 * float(shares[counts > 0].mean())
