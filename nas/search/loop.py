"""The search loops: ask, evaluate what the archive does not know, archive, tell."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence

from nas.archive.archive import Archive
from nas.evaluation.evaluation import Evaluation as Evaluation  # what `Progress` is given
from nas.evaluation.evaluation import EvaluationError, Evaluator
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

    What the archive knows is not evaluated again, so a killed search is resumed by the same call
    with a new searcher: it is asked anew and answered from the archive, to the same proposals.
    A larger budget continues a finished search as if it had been given at first.

    Args:
        searcher: Who proposes; new, or told of nothing that this search will answer.
        evaluate: Who measures.
        archive: Where evaluations go, each on the disk before it counts.
        budget: Distinct subnets in all, those answered from the archive included.
        batch: Subnets per round; always this many are asked for, so that where a search stops
            does not change what it proposes.
        progress: Called as `(done, budget, latest)` once for what a round found in the archive
            and once for all new evaluations that arrived together.

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
            # In the order of the proposals: a searcher may depend on it, and workers finish in any.
            answers = [found[genotype] for genotype in proposed]
            searcher.tell(answers)
            told.update(zip(proposed, answers, strict=True))
    return list(told.values())


def _answered(
    missing: Sequence[Genotype], evaluate: Evaluator, archive: Archive
) -> Iterator[list[Evaluation]]:
    """An evaluation per genotype, archived: measured here, or by another driver that is at it."""
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
    """A pause till other drivers may have measured something; a long wait is told once."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._told = False

    def __call__(self, archive: Archive) -> None:
        """Sleep a little, then look what they archived."""
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
    """Ask whenever the evaluator takes a genotype, tell whatever arrives, till `budget` is spent.

    Nobody waits for a slow worker. What the searcher proposes follows from the order of arrival,
    so no two searches are alike. A killed search is resumed by the same call with a new searcher:
    it is told all that the archive holds and goes on from there. What other searches put into the
    archive meanwhile is told as well, and counts; what they are measuring is not measured here,
    unless they die.

    Args:
        searcher: Who proposes; new.
        evaluate: Who measures; it decides how many evaluations are under way.
        archive: Where evaluations go, each on the disk before it counts.
        budget: Evaluations that the archive holds in the end, beyond those `known`.
        known: How many it held before the search.
        progress: Called as `(done, budget, latest)` once for what the archive holds already and
            once for all new evaluations that arrived together.

    Raises:
        EvaluationError: As `search`; what is under way is archived before.
    """
    if budget < 1:
        raise ValueError(f"a search needs a budget of at least 1, not {budget}")
    proposals = _Proposals(searcher, archive, total=known + budget)
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
    """Genotypes, each asked for when it is taken, till the archive will hold `total`.

    Attributes:
        pending: What was taken and is not answered yet.
        failure: Why there are no more, if that was an exception.
        others: What other drivers were measuring at the last look.
    """

    def __init__(self, searcher: Searcher, archive: Archive, *, total: int) -> None:
        self.pending: set[Genotype] = set()
        self.failure: Exception | None = None
        self.others: Collection[Genotype] = ()
        self._searcher, self._archive, self._total = searcher, archive, total
        self._told = 0
        self._seen: set[Genotype] = set()
        self._refused: dict[Genotype, None] = {}

    def __iter__(self) -> Iterator[Genotype]:
        while proposed := self._next():
            self.pending.update(proposed)
            yield from proposed

    def _next(self) -> list[Genotype]:
        """One proposal, from all that is known by now; nothing at the end of the search."""
        try:
            self.others = self._archive.elsewhere()
            self._archive.refresh()
            new = self._archive.told()[self._told :]
            self._searcher.tell(new)
            self._told += len(new)
            self._seen.update(evaluation.genotype for evaluation in new)
            if len(self._seen.union(self.others)) >= self._total:
                return []
            return self._reserved()
        except Exception as error:  # noqa: BLE001  # raised when what is under way has been archived
            self.failure = error
            return []

    def _reserved(self) -> list[Genotype]:
        """The first proposal that no other driver has; what they left undone comes before."""
        left = [one for one in self._refused if one not in {*self.others, *self._seen}]
        proposed = left[:1] or _proposed(self._searcher, 1, self._asked)
        while proposed:
            mine = self._archive.reserve(proposed)
            self._seen.update(mine)
            if mine:
                return mine
            self._refused.update(dict.fromkeys(proposed))
            proposed = _proposed(self._searcher, 1, self._asked)
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
    """One evaluation per genotype, as they arrive; what arrived is not `pending` any more."""
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
    """What the evaluator gives; its exceptions become an `EvaluationError` that names genotypes."""
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
