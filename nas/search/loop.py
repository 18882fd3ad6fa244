"""The search loops: ask, evaluate what the archive does not know, archive, tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from nas.archive import OBJECTIVE, Archive
from nas.evaluate import Evaluation as Evaluation  # what `Progress` is given
from nas.evaluate import EvaluationError, Evaluator
from nas.search.base import Searcher
from search_spaces.space import Genotype

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
            and once for every new evaluation.

    Returns:
        The evaluations in the order in which they were proposed.

    Raises:
        EvaluationError: An evaluation failed or is not finite; nothing of it is archived.
    """
    if budget < 1 or batch < 1:
        raise ValueError(f"a search needs a budget and a batch of at least 1, not {budget, batch}")
    told: dict[Genotype, Evaluation] = {}
    while len(told) < budget:
        proposed = _proposed(searcher, batch, told)[: budget - len(told)]
        if not proposed:
            break
        found = {g: known for g in proposed if (known := archive.get(g)) is not None}
        done = len(told) + len(found)
        if found:
            progress(done, budget, list(found.values()))
        missing = [genotype for genotype in proposed if genotype not in found]
        for evaluation in _measured(missing, evaluate, pending=set(missing)) if missing else ():
            archive.append(evaluation)
            found[evaluation.genotype] = evaluation
            done += 1
            progress(done, budget, [evaluation])
        # In the order of the proposals: a searcher may depend on it, and workers finish in any.
        answers = [found[genotype] for genotype in proposed]
        searcher.tell(answers)
        told.update(zip(proposed, answers, strict=True))
    return list(told.values())


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
    archive meanwhile is told as well, and counts.

    Args:
        searcher: Who proposes; new.
        evaluate: Who measures; it decides how many evaluations are under way.
        archive: Where evaluations go, each on the disk before it counts.
        budget: Evaluations that the archive holds in the end, beyond those `known`.
        known: How many it held before the search.
        progress: Called as `(done, budget, latest)` once for what the archive holds already and
            once for every new evaluation.

    Raises:
        EvaluationError: As `search`; what is under way is archived before.
    """
    if budget < 1:
        raise ValueError(f"a search needs a budget of at least 1, not {budget}")
    proposals = _Proposals(searcher, archive, total=known + budget)
    if len(archive) > known:
        progress(len(archive) - known, budget, archive.told()[known:])
    for evaluation in _measured(proposals, evaluate, pending=proposals.pending):
        archive.append(evaluation)
        progress(len(archive) - known, budget, [evaluation])
    if proposals.failure is not None:
        raise proposals.failure


class _Proposals:
    """Genotypes, each asked for when it is taken, till the archive will hold `total`.

    Attributes:
        pending: What was taken and is not answered yet.
        failure: Why there are no more, if that was an exception.
    """

    def __init__(self, searcher: Searcher, archive: Archive, *, total: int) -> None:
        self.pending: set[Genotype] = set()
        self.failure: Exception | None = None
        self._searcher, self._archive, self._total = searcher, archive, total
        self._told: set[Genotype] = set()

    def __iter__(self) -> Iterator[Genotype]:
        while proposed := self._next():
            self.pending.update(proposed)
            yield from proposed

    def _next(self) -> list[Genotype]:
        """One proposal, from all that is known by now; nothing at the end of the search."""
        try:
            self._archive.refresh()
            new = self._archive.told()[len(self._told) :]
            self._searcher.tell(new)
            self._told.update(evaluation.genotype for evaluation in new)
            seen = self._told | self.pending
            return _proposed(self._searcher, 1, seen) if len(seen) < self._total else []
        except Exception as error:  # noqa: BLE001  # raised when what is under way has been archived
            self.failure = error
            return []


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
) -> Iterator[Evaluation]:
    """One sound evaluation per genotype, as they arrive; what arrived is not `pending` any more."""
    for evaluation in _guarded(evaluate, genotypes, pending):
        if evaluation.genotype not in pending:
            raise EvaluationError(
                f"the evaluator answered with {evaluation.genotype}, which it was not asked for "
                "or has answered before; it must give one evaluation per genotype"
            )
        _check_metrics(evaluation)
        pending.remove(evaluation.genotype)
        yield evaluation
    if pending:
        raise EvaluationError(
            f"the evaluator ended without answering for {_named(pending)}; it must give one "
            "evaluation per genotype"
        )


def _guarded(
    evaluate: Evaluator, genotypes: Iterable[Genotype], pending: set[Genotype]
) -> Iterator[Evaluation]:
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


def _check_metrics(evaluation: Evaluation) -> None:
    broken = {n: value for n, value in evaluation.metrics.items() if not math.isfinite(value)}
    if broken:
        raise EvaluationError(
            f"evaluating genotype {evaluation.genotype} gave {broken}; check the supernet's "
            "training for divergence (a lower learning rate helps) and the validation data"
        )
    if OBJECTIVE not in evaluation.metrics:
        raise EvaluationError(
            f"evaluating genotype {evaluation.genotype} gave the metrics "
            f"{sorted(evaluation.metrics)}; an evaluator must give {OBJECTIVE!r}"
        )


def _named(pending: Iterable[Genotype]) -> str:
    genotypes = sorted(pending)
    if len(genotypes) == 1:
        return f"genotype {genotypes[0]}"
    return f"one of {len(genotypes)} genotypes, the first of which is {genotypes[0]},"
