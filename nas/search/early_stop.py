"""Early stopping of evaluations: each subnet is compared with a rival that it has to beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nas.evaluation.evaluation import Evaluation, StoppingEvaluator, capacity_of
from nas.evaluation.measurements import Measurements
from nas.problem.front import measured_front
from nas.problem.goals import Problem
from nas.search.ledger import Ledger
from nas.search.searcher import Searcher
from search_spaces.space import Genotype


class EarlyStopping:
    """A searcher and an evaluator in one, which knows the evaluations told and gives rivals.

    It takes the place of both in a search. A rival depends only on the evaluations told before, so
    a resumed search by batches stops the same evaluations at the same samples.

    Args:
        problem: The space, the metric and the goals whose fronts an evaluation may enter.
        searcher: The searcher that proposes.
        evaluate: The evaluator that measures and can stop early.
    """

    def __init__(self, problem: Problem, searcher: Searcher, evaluate: StoppingEvaluator) -> None:
        self._problem, self._searcher, self._evaluate = problem, searcher, evaluate
        self._ledger = Ledger(problem.space, problem.metric)

    def ask(self, count: int) -> list[Genotype]:
        """The genotypes that the searcher proposes, at most `count`."""
        return self._searcher.ask(count)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Record the evaluations and pass them to the searcher, also those from the archive."""
        self._ledger.record(evaluations)
        self._searcher.tell(evaluations)

    @property
    def capacity(self) -> int:
        """The number of subnets that the evaluator can measure or keep ready now."""
        return capacity_of(self._evaluate)

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterable[Sequence[Evaluation]]:
        """Evaluations, one per genotype; some of them are stopped early."""
        return self._evaluate(genotypes, self._rival_of)

    def _rival_of(self, genotype: Genotype) -> Evaluation | None:
        return rival(self._problem, self._ledger.told(), genotype)


def rival(problem: Problem, told: Measurements, genotype: Genotype) -> Evaluation | None:
    """The evaluation of the subnet that a genotype must beat to enter at least one front.

    On one front, the rival is the subnet of the least error within the limits that costs no more
    than the genotype in any objective. Of several fronts, the rival that is easiest to beat counts.
    None if a front has no such subnet, or if the genotype is beyond the limits of all goals.
    """
    whole, asked = told[told.complete], np.array([genotype])
    if not len(whole):
        return None
    hurdles: list[int] = []
    for goal in problem.goals:
        if goal.violation(asked)[0] > 0:
            continue
        costs, excess = goal.assess(whole.rows)
        able = np.flatnonzero((costs <= goal.values(asked)).all(axis=1) & (excess == 0))
        if not len(able):
            return None
        hurdles.append(int(able[whole.losses[able].argmin()]))
    if not hurdles:
        return None
    return whole.evaluations[max(hurdles, key=lambda place: whole.losses[place])]


def unsettled(problem: Problem, measured: Measurements, samples: int) -> list[Genotype]:
    """The genotypes that are on a front, with estimates counted, and saw fewer than `samples`.

    Empty after a search that shows all samples at once, since a stopped subnet is on no front,
    unless costs or limits have changed.
    """
    fronts = [measured_front(goal, measured, stopped=True) for goal in problem.goals]
    found = {one.genotype: one.answers for front in fronts for one in front}
    return sorted(g for g, answers in found.items() if answers and answers.seen < samples)
