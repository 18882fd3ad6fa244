"""What most searchers share: a ledger, a generator per round, random networks where ideas end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.problem.goals import Problem
from nas.search.ledger import Ledger
from nas.search.random import draw_unseen
from search_spaces.space import Genotype, IntArray


class Proposer(ABC):
    """A searcher that has only to say which rows it would evaluate next.

    Rows may repeat or be known; what is new is proposed, and random networks fill up. The first
    `initial` proposals are random.

    Args:
        problem: What to search, and for what.
        seed: Fixes the sequence, with what is told.
        initial: Random networks before the first idea.
    """

    def __init__(self, problem: Problem, *, seed: int, initial: int) -> None:
        self.problem = problem
        self.space = problem.space
        self._ledger = Ledger(problem.space, problem.metric)
        self._seed = seed
        self._initial = initial

    @abstractmethod
    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """Canonical rows worth evaluating, best first.

        Args:
            rng: Drives every draw.
            told: Everything told so far, two evaluations at least, in the order of arrival.
            count: How many are wanted.
        """

    def ask(self, count: int) -> list[Genotype]:
        """Up to `count` genotypes; fewer only where the space is exhausted."""
        rng = np.random.default_rng([self._seed, self._ledger.seen])
        first = max(0, min(count, self._initial - self._ledger.seen))
        found = self._ledger.propose(draw_unseen(self._ledger, rng, first))
        if len(found) < count and self._ledger.answered >= 2:
            rows = self.ideas(rng, self._ledger.told(), count=count - len(found))
            fresh = self._ledger.fresh(rows, at_most=count - len(found))
            found += self._ledger.propose(fresh)
        return found + self._ledger.propose(draw_unseen(self._ledger, rng, count - len(found)))

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Note the evaluations, whoever proposed them."""
        self._ledger.record(evaluations)
