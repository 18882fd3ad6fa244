"""The search loops: ask a searcher, evaluate genotypes new to the archive, archive, tell."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence

from nas.archive.archive import Archive
from nas.evaluation.evaluation import Evaluation as Evaluation  # what `Progress` is given
from nas.evaluation.evaluation import EvaluationError, Evaluator, capacity_of
from nas.search.searcher import Searcher
from search_spaces.space import Genotype

_PAUSE_S, _LONG_S = 0.5, 5.0
_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int, Sequence[Evaluation]], None]


def search(
    searcher: Searcher,
    evaluate: Evaluator,
    archive: Archive,
    *,
    budget: int,
    batch: int,
    progress: Progress = lambda done, budget, latest: None,
) -> list[Evaluation]:
    """Ask, evaluate and tell until `budget` subnets are evaluated or the space is exhausted.

    Genotypes in the archive are not evaluated again. A killed search is therefore resumed by the
    same call with a new searcher, which is answered from the archive and makes the same proposals.
    A larger budget continues a finished search as if the budget had been larger from the start.

    Args:
        searcher: The searcher that proposes; new, or told no evaluation of this search yet.
        evaluate: The evaluator that measures.
        archive: The archive for all evaluations; each is on the disk before it counts.
        budget: The number of distinct subnets in all, with those answered from the archive.
        batch: The number of subnets per round. Every round asks for this many, so that the place
            where a search stops does not change its proposals.
        progress: Called as `(done, budget, latest)`, once for all evaluations that a round found
            in the archive, and once for all new evaluations that arrived together.

    Returns:
        The evaluations as the archive recorded them, in the order in which they were proposed.

    Raises:
        EvaluationError: An evaluation failed or is not finite; nothing of it is archived.
        ArchiveError: The searcher proposed a genotype that is not a canonical one of the space.
    """
    if budget < 1 or batch < 1:
        raise ValueError(f"a search needs a budget and a batch of at least 1, not {budget, batch}")
    told: dict[Genotype, Evaluation] = {}
    with archive.reserving():
        while len(told) < budget:
            proposed = _proposed(searcher, batch, told)[: budget - len(told)]
            if not proposed:
                break
            found = {g: known for g in proposed if (known := archive.get(g)) is not None}
            if found:
                progress(len(told) + len(found), budget, list(found.values()))
            for arrived in _answered([g for g in proposed if g not in found], evaluate, archive):
                found.update((evaluation.genotype, evaluation) for evaluation in arrived)
                progress(len(told) + len(found), budget, arrived)
            # In the order of the proposals, on which a searcher may depend; workers do not keep it.
            answers = [found[genotype] for genotype in proposed]
            searcher.tell(answers)
            told.update(zip(proposed, answers, strict=True))
    return list(told.values())


def _answered(
    missing: Sequence[Genotype], evaluate: Evaluator, archive: Archive
) -> Iterator[list[Evaluation]]:
    """Archived evaluations, one per genotype, measured here or by another driver.

    A genotype that another driver is measuring is waited for.
    """
    waited = Wait()
    while missing:
        mine = archive.reserve(missing)
        for arrived in _measured(mine, evaluate, pending=set(mine)) if mine else ():
            yield archive.append(*arrived)
        left = [genotype for genotype in missing if genotype not in mine]
        others = [known for genotype in left if (known := archive.get(genotype)) is not None]
        if others:
            yield others
        missing = [genotype for genotype in left if archive.get(genotype) is None]
        if missing and not mine:
            waited(archive)


class Wait:
    """A pause until other drivers may have archived an evaluation; a long wait is logged once."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._told = False

    def __call__(self, archive: Archive) -> None:
        """Sleep for a moment, then read the evaluations that other drivers have archived."""
        if not self._told and time.monotonic() > self._since + _LONG_S:
            self._told = True
            _LOG.warning(
                "waiting for %d networks that other drivers of archive %s are measuring; those of "
                "a driver that died are measured here in a minute",
                *(len(archive.elsewhere()), archive.location),
            )
        time.sleep(_PAUSE_S)
        archive.refresh()


def search_asynchronously(
    searcher: Searcher,
    evaluate: Evaluator,
    archive: Archive,
    *,
    budget: int,
    known: int = 0,
    progress: Progress = lambda done, budget, latest: None,
) -> None:
    """Ask when a worker is free and tell when an evaluation arrives, until `budget` is spent.

    No worker waits for a slower one. If several workers are free, as at the start or after a slow
    answer of the searcher, one question is for all of them. The proposals depend on the order of
    arrival, so two searches differ even at equal seeds. A killed search is resumed by the same call
    with a new searcher, which is told all evaluations of the archive. Evaluations that other
    searches add to the archive meanwhile are told too, and count. A genotype that another search is
    measuring is not measured here, unless that search dies.

    Args:
        searcher: The searcher that proposes; new.
        evaluate: The evaluator that measures; it decides how many evaluations run at a time.
        archive: The archive for all evaluations; each is on the disk before it counts.
        budget: The number of evaluations in the archive at the end, beyond those `known`.
        known: The number of evaluations in the archive before the search.
        progress: Called as `(done, budget, latest)`, once for all evaluations that the archive
            holds at the start, and once for all new evaluations that arrived together.

    Raises:
        EvaluationError: As in `search`; evaluations that are running are archived before.
    """
    if budget < 1:
        raise ValueError(f"a search needs a budget of at least 1, not {budget}")
    capacity = functools.partial(capacity_of, evaluate)
    proposals = _Proposals(searcher, archive, total=known + budget, capacity=capacity)
    if len(archive) > known:
        progress(len(archive) - known, budget, archive.told()[known:])
    wait = Wait()
    with archive.reserving():
        while True:
            for arrived in _measured(proposals, evaluate, pending=proposals.pending):
                recorded = archive.append(*arrived)
                progress(len(archive) - known, budget, recorded)
            if proposals.failure is not None:
                raise proposals.failure
            if not proposals.others or len(archive) >= known + budget:
                break
            wait(archive)


class _Proposals:
    """An iterator of genotypes, which are asked for when taken, until the archive will be full.

    A question is for as many genotypes as the evaluator has room for, at least one.

    Attributes:
        pending: The genotypes that were taken and are not evaluated yet.
        failure: The exception that ended the proposals, or None.
        others: The genotypes that other drivers were measuring at the last look.
    """

    def __init__(
        self, searcher: Searcher, archive: Archive, *, total: int, capacity: Callable[[], int]
    ) -> None:
        self.pending: set[Genotype] = set()
        self.failure: Exception | None = None
        self.others: Collection[Genotype] = ()
        self._searcher, self._archive, self._total = searcher, archive, total
        self._capacity = capacity
        self._told = 0
        self._seen: set[Genotype] = set()
        self._refused: dict[Genotype, None] = {}

    def __iter__(self) -> Iterator[Genotype]:
        while proposed := self._next():
            for genotype in proposed:
                self.pending.add(genotype)
                yield genotype

    def _next(self) -> list[Genotype]:
        """New proposals, based on all evaluations so far; an empty list ends the search."""
        try:
            self.others = self._archive.elsewhere()
            self._archive.refresh()
            new = self._archive.told()[self._told :]
            self._searcher.tell(new)
            self._told += len(new)
            self._seen.update(evaluation.genotype for evaluation in new)
            left = self._total - len(self._seen.union(self.others))
            if left <= 0:
                return []
            room = self._capacity() - len(self.pending)
            return self._reserved(min(max(1, room), left))
        except Exception as error:  # noqa: BLE001  # raised when what is under way has been archived
            self.failure = error
            return []

    def _reserved(self, count: int) -> list[Genotype]:
        """Up to `count` genotypes that no other driver measures, at least one if there is any.

        Genotypes that other drivers left undone come first.
        """
        taken = self._seen.union(self.others)
        left = [genotype for genotype in self._refused if genotype not in taken]
        proposed = left[:count] or _proposed(self._searcher, count, self._asked)
        while proposed:
            mine = self._archive.reserve(proposed)
            self._seen.update(mine)
            self._refused.update(dict.fromkeys(one for one in proposed if one not in mine))
            if mine:
                return mine
            proposed = _proposed(self._searcher, count, self._asked)
        return []

    @property
    def _asked(self) -> Container[Genotype]:
        return self._seen.union(self._refused)


def _proposed(searcher: Searcher, count: int, seen: Container[Genotype]) -> list[Genotype]:
    proposed = searcher.ask(count)
    repeated = [g for i, g in enumerate(proposed) if g in seen or g in proposed[:i]]
    if repeated:
        raise ValueError(
            f"searcher {type(searcher).__name__} proposed {repeated[0]} again, so the search "
            "would never end; a searcher must propose every genotype at most once"
        )
    return proposed


def _measured(
    genotypes: Iterable[Genotype], evaluate: Evaluator, *, pending: set[Genotype]
) -> Iterator[list[Evaluation]]:
    """Evaluations, one per genotype, as they arrive; each is removed from `pending` then."""
    for arrived in _guarded(evaluate, genotypes, pending):
        asked: list[Evaluation] = []
        others: list[Genotype] = []
        for evaluation in arrived:
            if evaluation.genotype in pending:
                pending.remove(evaluation.genotype)
                asked.append(evaluation)
            else:
                others.append(evaluation.genotype)
        if asked:
            yield asked
        if others:
            raise EvaluationError(
                f"the evaluator answered with {others[0]}, which it was not asked for or has "
                "answered before; it must give one evaluation per genotype"
            )
    if pending:
        raise EvaluationError(
            f"the evaluator ended without answering for {_named(pending)}; it must give one "
            "evaluation per genotype"
        )


def _guarded(
    evaluate: Evaluator, genotypes: Iterable[Genotype], pending: set[Genotype]
) -> Iterator[Sequence[Evaluation]]:
    """The evaluator's results; its exceptions become an `EvaluationError` that names genotypes."""
    try:
        yield from evaluate(genotypes)
    except EvaluationError:
        raise
    except Exception as error:
        raise EvaluationError(
            f"evaluating {_named(pending)} failed: {type(error).__name__}: {error}; what was "
            "evaluated before is archived, so search again when the cause is gone"
        ) from error


def _named(pending: Iterable[Genotype]) -> str:
    genotypes = sorted(pending)
    if len(genotypes) == 1:
        return f"genotype {genotypes[0]}"
    return f"one of {len(genotypes)} genotypes, the first of which is {genotypes[0]},"
