"""A user's function of picks as an evaluator: results are checked, failures are kept."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any, cast

from nas.api.learning_curve import LearningCurve, Training
from nas.evaluation.evaluation import (
    ERROR,
    STOPPED,
    Arrays,
    Evaluation,
    EvaluationError,
    EvaluatorFactory,
    RivalOf,
    no_rival,
)
from nas.facts.metric import MetricWords
from search_spaces.picks import Picks
from search_spaces.space import Genotype, SearchSpace

Returned = float | Mapping[str, float]
Objective = Callable[..., Returned]
"""A function of picks; in a search with epochs, of picks and a `LearningCurve`."""

FAILED = "failed"
_MOST = 12
_OPTIONS = "a number, or a dict of numbers by name"


class FormError(EvaluationError):
    """The error for a return value of an objective that holds no usable numbers."""


@dataclass(frozen=True)
class Figures:
    """The figures that an objective has to return, and how they become metrics.

    Attributes:
        metric: The words of the figure that is searched by. A number alone is this figure.
        measured: The names of further figures that objectives or limits name as costs.
    """

    metric: MetricWords
    measured: tuple[str, ...] = ()

    def losses(self, returned: object) -> dict[str, float]:
        """The metrics of an evaluation, all of them losses, `error` first; maybe not finite.

        Raises:
            FormError: If `returned` is neither a number nor a dict of numbers, or lacks a figure.
        """
        if _is_number(returned) and not math.isfinite(cast("float", returned)):
            return {ERROR: math.nan}  # nothing else can be expected of a failure
        given = returned if isinstance(returned, Mapping) else {self.metric.name: returned}
        odd = {name: value for name, value in given.items() if not _is_number(value)}
        if odd or not all(isinstance(name, str) for name in given):
            told = ", ".join(f"{name}: {type(value).__name__}" for name, value in odd.items())
            item = any(hasattr(value, "item") for value in odd.values())
            remedy = "; `.item()` makes a number of what holds one" if item else ""
            raise FormError(f"the objective returned {told or [*given]}; give {_OPTIONS}{remedy}")
        needed = (self.metric.name, *self.measured)
        if missing := [name for name in needed if name not in given]:
            raise FormError(
                f"the objective returned {sorted(given) or 'an empty dict'} without "
                f"{', '.join(missing)}, which the search needs; return {{{_keys(needed)}}}, or "
                "name another metric, objective or limit"
            )
        figures = {str(name): float(cast("float", value)) for name, value in given.items()}
        searched = figures.pop(self.metric.name)
        if reserved := sorted({*figures} & {ERROR, FAILED, STOPPED}):
            raise FormError(
                f"the objective returned a further figure called {', '.join(reserved)}, a name "
                "that the archive uses itself; give the figure another name"
            )
        return {ERROR: self.metric.loss(searched), **figures}


def _keys(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}": ...' for name in names)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True, eq=False)
class ObjectiveEvaluator:
    """An evaluator that asks a function of picks.

    Attributes:
        objective: The function.
        space: The space of the genotypes.
        figures: The figures that the function returns.
        failed: The figures of a network of which the function raises or returns NaN or infinity;
            None to end the search there.
        seed: The seed of the search, which every evaluation records.
        training: What is known of the trainings that the function makes and reports; None for a
            function of picks alone.
    """

    objective: Objective
    space: SearchSpace
    figures: Figures
    failed: Mapping[str, float] | None = None
    seed: int = 0
    training: Training | None = None

    def __call__(
        self, genotypes: Iterable[Genotype], rival_of: RivalOf = no_rival
    ) -> Iterator[list[Evaluation]]:
        """One evaluation per genotype, in the given order, made when the caller takes it.

        Raises:
            EvaluationError: The function failed, or returned something that is no figure.
        """
        for genotype in genotypes:
            yield [self._measured(genotype, rival_of(genotype))]

    def factory(self) -> EvaluatorFactory:
        """A factory that builds this evaluator in another process."""
        return EvaluatorFactory(partial(_rebuilt, evaluator=self), {})

    def _measured(self, genotype: Genotype, rival: Evaluation | None) -> Evaluation:
        picks, begun = self.space.picks(genotype), time.perf_counter()
        hurdle = None if rival is None else rival.error
        curve = self.training and LearningCurve(self.training, self.figures.metric, hurdle)
        given = (
            (self.space.picks(genotype),) if curve is None else (self.space.picks(genotype), curve)
        )
        try:
            returned = self.objective(*given)
        except Exception as error:  # noqa: BLE001  # it is told, or kept
            what = " ".join(f"raised {type(error).__name__}: {error}".split())
            return self._failure(genotype, picks, what, begun, error)
        if curve is not None and curve.stopped is not None:
            return self._evaluation(genotype, curve.stopped, begun)
        try:
            metrics = self.figures.losses(returned)
        except FormError as error:
            raise FormError(f"{error} (picks: {_told(picks)})") from None
        broken = {name: value for name, value in metrics.items() if not math.isfinite(value)}
        if broken:
            return self._failure(genotype, picks, f"returned {_told(broken)}", begun, None)
        return self._evaluation(genotype, metrics, begun)

    def _failure(
        self, genotype: Genotype, picks: Picks, what: str, begun: float, error: Exception | None
    ) -> Evaluation:
        if self.failed is None:
            raise EvaluationError(
                f"the objective {what} (picks: {_told(picks)}); what was evaluated before is kept, "
                "so correct the objective and search again, or give `failed`, the figures with "
                "which such a network counts"
            ) from error
        metrics = {**self.failed, FAILED: 1.0}
        made = self._evaluation(genotype, metrics, begun)
        return replace(made, where=f"{made.where} {what}")

    def _evaluation(
        self, genotype: Genotype, metrics: Mapping[str, float], begun: float
    ) -> Evaluation:
        where = f"{socket.gethostname()}:{os.getpid()}"
        return Evaluation(genotype, metrics, self.seed, time.perf_counter() - begun, where)


def _told(values: Mapping[str, Any]) -> str:
    """Some of the values, by name, for a message."""
    told = [f"{name}={value}" for name, value in values.items()]
    return ", ".join([*told[:_MOST], *(["..."] if len(told) > _MOST else [])])


def _rebuilt(_arrays: Arrays, *, evaluator: ObjectiveEvaluator) -> ObjectiveEvaluator:
    return evaluator
