"""The criterion of a task: its loss, the distance of two outputs, and what a good answer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nas.facts.metric import MetricWords
from search_spaces.ops import Shape


class CriterionError(ValueError):
    """The error for outputs or targets that a criterion cannot compare."""


@dataclass(frozen=True)
class Metric:
    """A further figure of a network, which a search may minimise or limit.

    Attributes:
        words: The words of the figure.
        compute: A function from the outputs and targets of all samples to the loss of the figure,
            which is at least 0.
        each: A function from the outputs and targets to the loss of each sample, `(n,)`, for a
            figure that is their mean: its interval is then exact, also for shares near 100 %.
    """

    words: MetricWords
    compute: Callable[[Tensor, Tensor], float]
    each: Callable[[Tensor, Tensor], Tensor] | None = None


class Criterion(Protocol):
    """The measure of a network's outputs: loss, distance from a teacher, and what is a good answer.

    A criterion is a class that derives from this one. A frozen dataclass of plain values can be
    sent to other processes. Outputs `out` have the shape `(n, *output)` for `n` samples, where
    `output` is the output shape of the task. Targets have the shape that `check` accepts, with `n`
    samples first. All methods raise `CriterionError` for other shapes or types.
    """

    @property
    def error(self) -> MetricWords:
        """The words of the searched loss, the mean of `losses`."""
        ...

    @property
    def shown(self) -> MetricWords:
        """The words in which a user is told the same loss, such as an accuracy."""
        return self.error

    @property
    def further(self) -> Mapping[str, Metric]:
        """Further metrics, by the name that a recipe gives as objective or limit."""
        return {}

    def check(self, output: Shape, targets: Tensor) -> None:
        """Raise `CriterionError` if `targets` are none for networks of this output shape."""
        ...

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """The loss that training minimises, the mean over the samples, a scalar."""
        ...

    def total(self, out: Tensor, target: Tensor) -> Tensor:
        """The sum over the samples of the loss without regularisation, a scalar."""
        return self.loss(out, target) * len(out)

    def plain(self, out: Tensor, target: Tensor) -> Tensor:
        """The mean over the samples of the loss without regularisation, a scalar."""
        return self.total(out, target) / len(out)

    def distance(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The distance of outputs from those of a teacher, the mean over the samples, a scalar.

        The distance is at least 0, and 0 for equal outputs. No gradient reaches the teacher.
        """
        ...

    def log_probabilities(self, out: Tensor) -> Tensor:
        """The logarithms of the probabilities of which outputs are the logits, over the last axis.

        Raises:
            CriterionError: Outputs are no logits; a criterion says so by leaving this method out.
        """
        raise CriterionError(f"outputs of {type(self).__name__} are no logits of a distribution")

    def losses(self, out: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample by which networks are compared, `(n,)`, finite and at least 0."""
        ...

    def guess(self, targets: Tensor) -> float:
        """The `loss` of the best constant answer to `targets`."""
        ...

    def constant_error(self, targets: Tensor) -> float | None:
        """The mean of `losses` for the best answer that is the same for all samples, or nearly so.

        A network that has learned something is better. None where the answer is not known.
        """
        return None

    def agreement(self, out: Tensor, other: Tensor) -> float | None:
        """The percentage of equal answers in two outputs; None where answers are no choices."""


def percent(hits: Tensor) -> float:
    """The percentage of true entries."""
    return 100.0 * float(hits.double().mean())


def require_samples(out: Tensor, other: Tensor, shape: tuple[int, ...]) -> None:
    """Raise `CriterionError` unless `other` has the given shape, which follows from `out`.

    Without this check, torch would broadcast some wrong shapes without a word.
    """
    if tuple(other.shape) != tuple(shape):
        raise CriterionError(
            f"outputs of shape {tuple(out.shape)} cannot be compared with a tensor of shape "
            f"{tuple(other.shape)}; give one of shape {tuple(shape)}"
        )


@dataclass(frozen=True)
class Figure:
    """A figure that a recipe may name as objective or limit.

    Attributes:
        metric: The name of the figure's loss in `Evaluation.metrics`.
        words: The words of the figure.
    """

    metric: str
    words: MetricWords


def figures(criterion: Criterion) -> dict[str, Figure]:
    """The figures of a criterion, by the name that a recipe gives them."""
    shown = criterion.shown
    return {
        shown.name.lower().replace(" ", "_"): Figure("error", shown),
        **{
            name: Figure(f"{name}_loss" if metric.words.larger_is_better else name, metric.words)
            for name, metric in criterion.further.items()
        },
    }
