"""Stopping evaluations that cannot end on any front: each runs against one subnet it must beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation, StoppingEvaluator
from nas.problem.front import measured_front
from nas.problem.goals import Problem
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
        self._told: list[Evaluation] = []

    def ask(self, count: int) -> list[Genotype]:
        """What the searcher proposes."""
        return self._searcher.ask(count)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Hand on what was measured, known evaluations included."""
        self._told += evaluations
        self._searcher.tell(evaluations)

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterable[Sequence[Evaluation]]:
        """One evaluation per genotype, some of them stopped."""
        return self._evaluate(genotypes, lambda one: rival(self._problem, self._told, one))


def rival(problem: Problem, told: Sequence[Evaluation], genotype: Genotype) -> Answers | None:
    """The answers of the subnet that a genotype must beat to enter one front at least.

    On one front that is the most accurate subnet within the limits that costs no more in any
    objective; of several fronts the easiest counts. Where one front has no such subnet, or where
    the genotype is beyond the limits of all, there is no rival.
    """
    whole = [one for one in told if one.complete and one.answers is not None]
    if not whole:
        return None
    known, asked = np.array([one.genotype for one in whole]), np.array([genotype])
    errors = np.array([one.metrics[problem.metric] for one in whole])
    hurdles: list[int] = []
    for goal in problem.goals:
        if goal.violation(asked)[0] > 0:
            continue
        costs, excess = goal.assess(known)
        able = np.flatnonzero((costs <= goal.values(asked)).all(axis=1) & (excess == 0))
        if not len(able):
            return None
        hurdles.append(int(able[errors[able].argmin()]))
    return whole[max(hurdles, key=lambda one: errors[one])].answers if hurdles else None


def unsettled(problem: Problem, evaluations: Sequence[Evaluation], images: int) -> list[Genotype]:
    """What is on a front, estimates included, and was shown fewer than `images`.

    Empty after a search that shows all images at once: what it stopped is on no front, unless
    costs or limits are others now.
    """
    fronts = [
        measured_front(goal, evaluations, metric=problem.metric, stopped=True)
        for goal in problem.goals
    ]
    found = {one.genotype: one.answers for front in fronts for one in front}
    return sorted(g for g, answers in found.items() if answers and answers.seen < images)
