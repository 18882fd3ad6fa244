"""A true evaluation: what was measured of one subnet, who measures, and how to build one."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from nas.evaluation.answers import Answers
from search_spaces.space import Genotype

Arrays = Mapping[str, NDArray[Any]]

ERROR = "error"


class EvaluationError(RuntimeError):
    """An evaluation that failed or is no number; what was evaluated before is archived."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one subnet; every metric is a loss, smaller is better.

    Its numbers are finite and of Python's own types, whatever types they were given in, so no
    reader of an evaluation checks them again.

    Attributes:
        genotype: The subnet, in canonical form.
        metrics: At least `error`: wrong answers on the validation split, in percent.
        seed: The seed of the run it was measured in, from 0 on.
        seconds: Wall time that the evaluation took.
        where: Host, process and device that measured it.
        answers: Which validation images the subnet got wrong, where the evaluator tells.

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
        """The metric that every evaluation has."""
        return self.metrics[ERROR]

    @property
    def complete(self) -> bool:
        """Whether it saw all images, so that its `error` is no estimate."""
        return self.answers is None or self.answers.complete


class Evaluator(Protocol):
    """Measures subnets; a pure function of the genotype, whatever the order or the place."""

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterable[Sequence[Evaluation]]:
        """One evaluation per genotype, as soon as it is there, in any order.

        What is there at the same time comes together and is archived by one write, before the
        caller takes more, so that a kill loses what is under way and nothing else. Who measures
        one after the other gives groups of one. A genotype is to be taken only when someone can
        begin with it: an asynchronous search chooses it then, by all that has been measured till
        then.

        Raises:
            EvaluationError: While iterating; names the genotype that could not be evaluated.
        """
        ...


def flat(groups: Iterable[Sequence[Evaluation]]) -> list[Evaluation]:
    """What an evaluator gives, without its groups."""
    return [evaluation for group in groups for evaluation in group]


RivalOf = Callable[[Genotype], Answers | None]
"""The answers of the subnet that a genotype must beat to be of use; None where there is none."""


def no_rival(genotype: Genotype) -> None:
    """Nothing to beat, so nothing is stopped."""


class StoppingEvaluator(Evaluator, Protocol):
    """Measures subnets, and stops early where one is far behind its rival."""

    def __call__(
        self, genotypes: Iterable[Genotype], rival_of: RivalOf = no_rival
    ) -> Iterable[Sequence[Evaluation]]:
        """As an `Evaluator`; of what is stopped, `error` is an estimate.

        Args:
            genotypes: What to measure.
            rival_of: Asked for every genotype when its evaluation begins.
        """
        ...


@dataclass(frozen=True, eq=False)
class EvaluatorFactory:
    """Builds the same evaluator wherever it is called.

    Attributes:
        build: A function that another process can import, or a `functools.partial` of one.
        arrays: What it is built from; where processes share memory, all see one read-only copy.
    """

    build: Callable[[Arrays], Evaluator]
    arrays: Arrays

    def __call__(self) -> Evaluator:
        """The evaluator."""
        return self.build(self.arrays)
