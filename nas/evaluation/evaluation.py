"""The evaluation of a subnet, the protocols of evaluators, and factories that build evaluators."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from nas.evaluation.answers import Answers
from search_spaces.space import Genotype

Arrays = Mapping[str, NDArray[Any]]

ERROR = "error"
STOPPED = "stopped_epoch"
"""The metric of a training that was stopped: the number of epochs after which it was hopeless."""


class EvaluationError(RuntimeError):
    """An evaluation that failed or gave no finite number; earlier evaluations are archived."""


@dataclass(frozen=True)
class Evaluation:
    """The measured metrics of one subnet; every metric is a loss, smaller is better.

    All numbers are finite and are converted to Python's own types, so no reader of an evaluation
    has to check them again.

    Attributes:
        genotype: The subnet, in canonical form.
        metrics: At least `error`, the loss of the task's criterion on the validation split.
        seed: The seed of the run that measured the subnet, at least 0.
        seconds: The wall time of the evaluation, in seconds.
        where: The host, process and device that measured the subnet.
        answers: The subnet's loss for each validation sample, if the evaluator reports them.

    Raises:
        EvaluationError: A metric or the time is not finite, or `error` is missing.
    """

    genotype: Genotype
    metrics: Mapping[str, float]
    seed: int
    seconds: float
    where: str
    answers: Answers | None = None

    def __post_init__(self) -> None:
        held = {
            "genotype": tuple(map(operator.index, self.genotype)),
            "metrics": {name: float(value) for name, value in self.metrics.items()},
            "seed": operator.index(self.seed),
            "seconds": float(self.seconds),
        }
        for name, value in held.items():
            object.__setattr__(self, name, value)
        broken = {name: value for name, value in self.metrics.items() if not math.isfinite(value)}
        if broken:
            raise EvaluationError(
                f"evaluating genotype {self.genotype} gave {broken}, and every metric is a finite "
                "number; check the supernet's training for divergence (a lower learning rate "
                "helps) and the validation data"
            )
        if ERROR not in self.metrics:
            raise EvaluationError(
                f"evaluating genotype {self.genotype} gave the metrics {sorted(self.metrics)}; an "
                f"evaluator must give {ERROR!r}"
            )
        if self.seed < 0 or not 0 <= self.seconds < math.inf:
            raise EvaluationError(
                f"evaluating genotype {self.genotype} took {self.seconds} s with the seed "
                f"{self.seed}; give a finite time and a seed, both from 0 on"
            )

    @property
    def error(self) -> float:
        """The metric `error`, which every evaluation has."""
        return self.metrics[ERROR]

    @property
    def complete(self) -> bool:
        """Whether the evaluation came to its end, so that its `error` is no estimate.

        It did not if the subnet was shown a part of the samples, or was trained for a part of the
        epochs.
        """
        return (self.answers is None or self.answers.complete) and STOPPED not in self.metrics


class Evaluator(Protocol):
    """A function that measures subnets; a result depends on the genotype, not on order or place."""

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterable[Sequence[Evaluation]]:
        """Evaluations, one per genotype, in groups, as soon as they are finished, in any order.

        Evaluations that finish at the same time form a group. The caller archives each group by
        one write before it takes the next, so a kill loses only evaluations that are running. An
        evaluator that measures one genotype after the other gives groups of one. It must take a
        genotype only when its evaluation can begin, since an asynchronous search chooses the
        genotype at that moment, by all evaluations so far.

        Raises:
            EvaluationError: While iterating; names the genotype that could not be evaluated.
        """
        ...


@runtime_checkable
class Parallel(Evaluator, Protocol):
    """An evaluator that measures several subnets at a time."""

    @property
    def capacity(self) -> int:
        """The number of subnets that can be measured or kept ready for a worker now."""
        ...


def capacity_of(evaluate: Evaluator) -> int:
    """The number of subnets that an evaluator can measure or keep ready now; 1 in this process."""
    return evaluate.capacity if isinstance(evaluate, Parallel) else 1


def flat(groups: Iterable[Sequence[Evaluation]]) -> list[Evaluation]:
    """The evaluations from an evaluator as one list, without groups."""
    return [evaluation for group in groups for evaluation in group]


RivalOf = Callable[[Genotype], Evaluation | None]
"""A function from a genotype to the evaluation of its rival, the subnet to beat; or None."""


def no_rival(genotype: Genotype) -> None:
    """The rival of a genotype in a search without early stopping: None."""


class StoppingEvaluator(Evaluator, Protocol):
    """An evaluator that can stop early if a subnet is far behind its rival."""

    def __call__(
        self, genotypes: Iterable[Genotype], rival_of: RivalOf = no_rival
    ) -> Iterable[Sequence[Evaluation]]:
        """Evaluations as from an `Evaluator`; the `error` of a stopped one is an estimate.

        Args:
            genotypes: The genotypes to measure.
            rival_of: The rival of a genotype; called when the evaluation of the genotype begins.
        """
        ...


@dataclass(frozen=True, eq=False)
class EvaluatorFactory:
    """A factory that builds the same evaluator in any process.

    Attributes:
        build: A function that another process can import, or a `functools.partial` of one.
        arrays: The arrays that `build` gets; processes with shared memory see one read-only copy.
    """

    build: Callable[[Arrays], Evaluator]
    arrays: Arrays

    def __call__(self) -> Evaluator:
        """A new evaluator, from `build` and `arrays`."""
        return self.build(self.arrays)
