"""`nas.search`: a space is searched for a function of the user's own."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nas.api.network import Network
from nas.api.objective import FAILED, Figures, FormError, Objective, ObjectiveEvaluator, Returned
from nas.api.problem import Asked, Target, asked_for, several
from nas.api.searched import Searched
from nas.api.study import Study
from nas.archive.archive import Archive
from nas.evaluation.evaluation import Evaluation
from nas.evaluation.workers import Rebuildable, Workers
from nas.facts.metric import MetricWords
from nas.parts import Parts
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
    evaluator = _evaluator(space, objective, asked, words=words, failed=failed, seed=seed)
    proposing: Searcher = searcher_named(searcher, asked.problem, seed=seed)
    if first:
        proposing = Offered(proposing, [asked.problem.space.genotype(picks) for picks in first])
    with _location(storage) as location, Workers(workers).measuring(evaluator) as evaluate:
        archive = Archive(location, asked.problem.space, study=name, figure=in_words(words))
        _require_figures(archive, asked.measured)
        study = Study(
            asked, archive, metric=words, name=name, budget=budget, batch=batch, seed=seed
        )
        told = Progress(study, callbacks, timeout)
        with contextlib.suppress(Stopped):
            how = search_asynchronously if asynchronous else partial(search_loop, batch=batch)
            how(proposing, evaluate, archive, budget=budget, progress=told)
    return study


def in_words(metric: MetricWords) -> str:
    """The figure that an archive's errors stand for, and which of its values is no error."""
    return metric.heading if metric.best is None else f"{metric.heading}, at best {metric.best:g}"


def _require_figures(archive: Archive, needed: Sequence[str]) -> None:
    """Raise `ValueError` if evaluations of an earlier search lack a figure that is needed now."""
    for known in archive.evaluations():
        if missing := [name for name in needed if name not in known.metrics]:
            raise ValueError(
                f"the evaluations in {archive.location} have no figure {', '.join(missing)}, which "
                "objectives or limits name; give another storage or name, or leave the figure out"
            )


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
    return ObjectiveEvaluator(objective, asked.problem.space, figures, losses, seed)


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
