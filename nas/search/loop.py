"""The search loop: ask, evaluate what the archive does not know, archive, tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

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
        for evaluation in _measured([g for g in proposed if g not in found], evaluate):
            archive.append(evaluation)
            found[evaluation.genotype] = evaluation
            done += 1
            progress(done, budget, [evaluation])
        # In the order of the proposals: a searcher may depend on it, and workers finish in any.
        answers = [found[genotype] for genotype in proposed]
        searcher.tell(answers)
        told.update(zip(proposed, answers, strict=True))
    return list(told.values())


def _proposed(searcher: Searcher, count: int, told: dict[Genotype, Evaluation]) -> list[Genotype]:
    proposed = searcher.ask(count)
    repeated = [g for i, g in enumerate(proposed) if g in told or g in proposed[:i]]
    if repeated:
        raise ValueError(
            f"searcher {type(searcher).__name__} proposed {repeated[0]} again, so the search "
            "would never end; a searcher must propose every genotype at most once"
        )
    return proposed


def _measured(genotypes: Sequence[Genotype], evaluate: Evaluator) -> Iterator[Evaluation]:
    """One sound evaluation per genotype, as they arrive."""
    pending = set(genotypes)
    if not pending:
        return
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
    evaluate: Evaluator, genotypes: Sequence[Genotype], pending: set[Genotype]
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
