"""Stopping evaluations that cannot end on any front: each runs against one subnet it must beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation, StoppingEvaluator
from nas.evaluation.measurements import Measurements
from nas.problem.front import measured_front
from nas.problem.goals import Problem
from nas.search.ledger import Ledger
from nas.search.searcher import Searcher
from search_spaces.space import Genotype


class EarlyStopping:
    """A searcher and its evaluator, with what was told in between; stands for both in a search.

    A rival depends on what was told before alone, so a search by batches that is resumed from its
    archive stops the same evaluations at the same images.

    Args:
        problem: The fronts that an evaluation may enter.
        searcher: Who proposes.
        evaluate: Who measures, and stops.
    """

    def __init__(self, problem: Problem, searcher: Searcher, evaluate: StoppingEvaluator) -> None:
        self._problem, self._searcher, self._evaluate = problem, searcher, evaluate
        self._ledger = Ledger(problem.space, problem.metric)

    def ask(self, count: int) -> list[Genotype]:
        """What the searcher proposes."""
        return self._searcher.ask(count)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Hand on what was measured, known evaluations included."""
        self._ledger.record(evaluations)
        self._searcher.tell(evaluations)

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterable[Sequence[Evaluation]]:
        """One evaluation per genotype, some of them stopped."""
        return self._evaluate(genotypes, self._rival_of)

    def _rival_of(self, genotype: Genotype) -> Answers | None:
        return rival(self._problem, self._ledger.told(), genotype)


def rival(problem: Problem, told: Measurements, genotype: Genotype) -> Answers | None:
    """The answers of the subnet that a genotype must beat to enter one front at least.

    On one front that is the most accurate subnet within the limits that costs no more in any
    objective; of several fronts the easiest counts. Where one front has no such subnet, or where
    the genotype is beyond the limits of all, there is no rival.
    """
    answers = np.array([one.answers is not None for one in told.evaluations], dtype=np.bool_)
    whole, asked = told[told.complete & answers], np.array([genotype])
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
    return whole.evaluations[max(hurdles, key=lambda place: whole.losses[place])].answers


def unsettled(problem: Problem, measured: Measurements, images: int) -> list[Genotype]:
    """What is on a front, estimates included, and was shown fewer than `images`.

    Empty after a search that shows all images at once: what it stopped is on no front, unless
    costs or limits are others now.
    """
    fronts = [measured_front(goal, measured, stopped=True) for goal in problem.goals]
    found = {one.genotype: one.answers for front in fronts for one in front}
    return sorted(g for g, answers in found.items() if answers and answers.seen < images)
