"""A true evaluation: what was measured of one subnet, who measures, and how to build one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from nas.evaluation.answers import Answers
from search_spaces.space import Genotype

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Evaluation:
    """What one subnet measured; every metric is a loss, smaller is better.

    Attributes:
        genotype: The subnet, in canonical form.
        metrics: At least `error`: wrong answers on the validation split, in percent.
        seed: The seed of the run it was measured in.
        seconds: Wall time it took.
        where: Host, process and device that measured it.
        answers: Which validation images it got wrong, where the evaluator tells.
    """

    genotype: Genotype
    metrics: Mapping[str, float]
    seed: int
    seconds: float
    where: str
    answers: Answers | None = None

    @property
    def complete(self) -> bool:
        """Whether it saw all images, so that its `error` is no estimate."""
        return self.answers is None or self.answers.complete


class EvaluationError(RuntimeError):
    """An evaluation that failed or is no number; what was evaluated before is archived."""


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
