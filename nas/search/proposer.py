"""A base class for searchers, with a ledger, a random generator per round, and random networks."""

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
    """A base class for searchers: a subclass implements `ideas`, the rows to evaluate next.

    The rows may repeat and may hold known genotypes: only new genotypes are proposed. Where they
    are too few, random networks fill the batch. The first `initial` proposals are random.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed; with the evaluations told, it determines all proposals.
        initial: The number of random networks that are proposed first.
    """

    def __init__(self, problem: Problem, *, seed: int, initial: int) -> None:
        self.problem = problem
        self.space = problem.space
        self._ledger = Ledger(problem.space, problem.metric)
        self._seed = seed
        self._initial = initial

    @abstractmethod
    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """The canonical rows to evaluate next, `(n, choices)`, best first.

        Args:
            rng: The source of all random numbers.
            told: All evaluations so far, at least two, in the order of arrival.
            count: The number of rows that will be proposed.
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
        """Record the evaluations, also of networks that this searcher did not propose."""
        self._ledger.record(evaluations)
