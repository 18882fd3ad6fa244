"""`nas.search`: a space is searched for a function of the user's own."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from nas.api.learning_curve import Training
from nas.api.network import Network
from nas.api.objective import FAILED, Figures, FormError, Objective, ObjectiveEvaluator, Returned
from nas.api.problem import Asked, Target, asked_for, several
from nas.api.searched import Searched
from nas.api.study import Study
from nas.archive.archive import Archive
from nas.evaluation.evaluation import Evaluation, Evaluator, StoppingEvaluator
from nas.evaluation.workers import Rebuildable, Workers
from nas.facts.metric import MetricWords
from nas.parts import Parts
from nas.problem.goals import Problem
from nas.search.early_stop import EarlyStopping
from nas.search.loop import search as search_loop
from nas.search.loop import search_asynchronously
from nas.search.named import searcher_named
from nas.search.offered import Offered
from nas.search.searcher import Searcher
from search_spaces.space import SearchSpace

Callback = Callable[[Any, Sequence[Network]], None]


def search(
    space: SearchSpace,
    objective: Objective | Rebuildable,
    *,
    targets: Target | Sequence[Target] = (),
    budget: int = 100,
    objectives: str | Sequence[str] = (),
    limits: Mapping[str, float] | None = None,
    metric: str | MetricWords = "error",
    searcher: str = Parts("searcher").default,
    first: Sequence[Mapping[str, Any]] = (),
    batch: int = 10,
    seed: int = 0,
    storage: str | Path | None = None,
    name: str = "search",
    workers: int = 0,
    asynchronous: bool = False,
    timeout: float | None = None,
    callbacks: Sequence[Callback] = (),
    failed: Returned | None = None,
    epochs: int | None = None,
    curves: str = Parts("curve").default,
) -> Study:
    """Search a space for the networks with the best figures of `objective` and the least costs.

    The same call with the same `storage` continues a search that was stopped, with the same
    networks as if it had not been; a larger `budget` lengthens it.

    Args:
        space: The space.
        objective: A function of the picks of a network, `{"width": 16, "conv.bits": 8}`, that
            returns the figure called `metric`, or a dict of this and further figures, all of which
            are better when smaller; or an evaluator of genotypes with a `factory`.
        targets: Devices by name, by file or as objects, and goals made by hand.
        budget: The number of networks to evaluate, with those in `storage`.
        objectives: The costs to minimise beside the metric: those of targets, `macs`, `bitops`,
            `model_bytes`, or further figures of the objective. By default `latency_ms` on targets,
            and nothing without a target.
        limits: Name of a cost -> its upper limit. That of a target's memory holds in any case.
        metric: The name of the searched figure, or its words: `MetricWords("accuracy", "%",
            best=100)` for a figure that is better when larger.
        searcher: The name of the searcher.
        first: The picks of networks to evaluate first; choices left out have their first option.
        batch: The number of networks that are proposed together; with workers, measured together.
        seed: The seed of all proposals.
        storage: A file, or the URL of a database, that keeps the evaluations. By default they are
            kept in memory only.
        name: The name of the search in `storage` and in its report.
        workers: The number of processes that evaluate, by Ray; 0 evaluates in this process.
        asynchronous: Whether a worker gets its next network at once, instead of when its round is
            over. No worker waits then, but two searches differ even at equal seeds.
        timeout: The seconds after which no further evaluation begins.
        callbacks: Functions of the study and of the networks just evaluated.
        failed: The figures with which a network counts if the objective raises or returns NaN or
            infinity for it; such a network is on no front. By default the search ends there.
        epochs: The number of epochs for which the objective trains a network. It then gets a
            `LearningCurve` as its second argument, reports its figure after each epoch, and ends a
            training that is `hopeless`. By default nothing is stopped.
        curves: The name of the model that predicts how a curve ends.

    Returns:
        The study.

    Raises:
        EvaluationError: The objective failed, or returned something that is no figure.
        ValueError: Something that was given makes no sense.
        TargetError, ConstraintError, ArchiveError, PartError, ClusterError: As their classes say.
    """
    require_numbers(budget=budget, batch=batch, seed=seed, workers=workers, timeout=timeout)
    words = MetricWords(metric, digits=4) if isinstance(metric, str) else metric
    asked = asked_for(
        space, targets, objectives=several(objectives), limits=limits or {}, seed=seed
    )
    training = None if epochs is None else _training(epochs, curves, asked, objective)
    evaluator = _evaluator(
        space, objective, asked, words=words, failed=failed, seed=seed, training=training
    )
    proposing = _searcher(searcher, asked.problem, first, seed)
    with _location(storage) as location, Workers(workers).measuring(evaluator) as measuring:
        archive = _archive(location, asked, name, words)
        study = Study(
            asked, archive, metric=words, name=name, budget=budget, batch=batch, seed=seed
        )
        told = Progress(study, callbacks, timeout)
        asking, answering = _watched(training, asked, proposing, measuring)
        with contextlib.suppress(Stopped):
            how = search_asynchronously if asynchronous else partial(search_loop, batch=batch)
            how(asking, answering, archive, budget=budget, progress=told)
    return study


def in_words(metric: MetricWords) -> str:
    """The figure that an archive's errors stand for, and which of its values is no error."""
    return metric.heading if metric.best is None else f"{metric.heading}, at best {metric.best:g}"


def _searcher(
    name: str, problem: Problem, first: Sequence[Mapping[str, Any]], seed: int
) -> Searcher:
    """The searcher called `name`, behind the networks that are to be evaluated first."""
    proposing: Searcher = searcher_named(name, problem, seed=seed)
    return Offered(proposing, list(map(problem.space.genotype, first))) if first else proposing


def _archive(location: str | Path, asked: Asked, name: str, words: MetricWords) -> Archive:
    """The archive of a search, with those evaluations that are there already.

    Raises:
        ValueError: One of these lacks a figure that is needed now.
    """
    archive = Archive(location, asked.problem.space, study=name, figure=in_words(words))
    for known in archive.evaluations():
        if missing := [figure for figure in asked.measured if figure not in known.metrics]:
            raise ValueError(
                f"the evaluations in {archive.location} have no figure {', '.join(missing)}, which "
                "objectives or limits name; give another storage or name, or leave the figure out"
            )
    return archive


class Stopped(Exception):  # it is no error
    """The end of a search before its budget is spent."""


class Progress:
    """What happens after every evaluation: callbacks, and the end of the time."""

    def __init__(
        self, study: Searched, callbacks: Sequence[Callback], timeout: float | None
    ) -> None:
        self._study, self._callbacks = study, callbacks
        self._known = {one.genotype for one in study.measured.evaluations}
        self._end = None if timeout is None else time.monotonic() + timeout

    def __call__(self, done: int, budget: int, latest: Sequence[Evaluation]) -> None:
        """Tell the callbacks of new evaluations, and raise `Stopped` if the search is to end."""
        new = [one for one in latest if one.genotype not in self._known]
        if not new:
            return
        networks = self._study.networks_of([one for one in new if FAILED not in one.metrics])
        for callback in self._callbacks:
            callback(self._study, networks)
        if self._study.stopped or (self._end is not None and time.monotonic() > self._end):
            raise Stopped


def require_numbers(
    *, budget: int, batch: int, seed: int, workers: int, timeout: float | None
) -> None:
    """Raise `ValueError` for numbers that make no sense; the message lists all of them."""
    least = {"budget": (budget, 1), "batch": (batch, 1), "seed": (seed, 0), "workers": (workers, 0)}
    wrong = [
        f"{name} is at least {low}, given {value}"
        for name, (value, low) in least.items()
        if value < low
    ]
    if timeout is not None and not timeout > 0:
        wrong.append(f"timeout is above 0 seconds, given {timeout}")
    if wrong:
        raise ValueError("; ".join(wrong))


def _evaluator(
    space: SearchSpace,
    objective: Objective | Rebuildable,
    asked: Asked,
    *,
    words: MetricWords,
    failed: Returned | None,
    seed: int,
    training: Training | None,
) -> Rebuildable:
    """The evaluator of a search, from a function of picks or from an evaluator."""
    if not callable(objective):
        raise ValueError(
            f"an objective is a function of picks, or an evaluator, given {objective!r}"
        )
    if isinstance(objective, Rebuildable):
        if asked.problem.space != space:
            raise ValueError(
                f"the targets cannot run all options of space {space.name!r}, of whose genotypes "
                "the evaluator was made; make both with space = nas.targets.legal(space, targets)"
            )
        if failed is not None:
            raise ValueError("`failed` is for functions of picks; an evaluator keeps no failures")
        return objective
    figures = Figures(words, asked.measured)
    losses = None if failed is None else _counting(figures, failed)
    return ObjectiveEvaluator(objective, asked.problem.space, figures, losses, seed, training)


def _training(epochs: int, curves: str, asked: Asked, objective: object) -> Training:
    """What is known of the trainings of an objective that reports its learning curve."""
    if isinstance(objective, Rebuildable):
        raise ValueError(
            "`epochs` is for functions of picks that train; an evaluator stops by its own samples"
        )
    if asked.measured:
        raise ValueError(
            f"a training that is stopped returns no {', '.join(asked.measured)}, which the search "
            "needs of every network; leave `epochs` out, or these objectives and limits"
        )
    return Training(epochs, curves)


def _watched(
    training: Training | None, asked: Asked, proposing: Searcher, measuring: Evaluator
) -> tuple[Searcher, Evaluator]:
    """A searcher and an evaluator, which together stop hopeless trainings if there are any."""
    if training is None:
        return proposing, measuring
    both = EarlyStopping(asked.problem, proposing, cast("StoppingEvaluator", measuring))
    return both, both


def _counting(figures: Figures, failed: Returned) -> Mapping[str, float]:
    """The metrics with which a network counts for which the objective fails."""
    try:
        losses = figures.losses(failed)
    except FormError as error:
        raise ValueError(f"failed = {failed!r} is no result of an objective: {error}") from None
    if not all(map(math.isfinite, losses.values())):
        raise ValueError(f"failed = {failed!r} is not finite; give figures worse than any other")
    return losses


@contextlib.contextmanager
def _location(storage: str | Path | None) -> Iterator[str | Path]:
    """A context with the place of the archive; without a storage, a file that is removed again."""
    if storage is not None:
        yield storage
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "archive.journal"
