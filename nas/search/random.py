"""Random search without replacement: the baseline that every other searcher must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.evaluation.evaluation import Evaluation
from nas.problem.goals import Problem
from nas.search.context import Context
from nas.search.ledger import Ledger
from search_spaces.space import Genotype, SearchSpace

_ATTEMPTS = 20
_ENUMERABLE = 200_000


class RandomSearch:
    """A searcher that proposes random networks, each at most once.

    Args:
        space: The space of the networks; `SearchSpace.sample_array` draws them.
        seed: The seed; with the evaluations told, it determines all proposals.
        metric: The name of the loss in `Evaluation.metrics`.
    """

    def __init__(self, space: SearchSpace, *, seed: int, metric: str = "error") -> None:
        self._ledger = Ledger(space, metric)
        self._seed = seed

    def ask(self, count: int) -> list[Genotype]:
        """Up to `count` genotypes; fewer only where the space is exhausted."""
        rng = np.random.default_rng([self._seed, self._ledger.seen])
        return self._ledger.propose(draw_unseen(self._ledger, rng, count))

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Record the evaluations, so that networks measured by others are not proposed again."""
        self._ledger.record(evaluations)


def random(problem: Problem, seed: int, _context: Context) -> RandomSearch:
    """The searcher for a problem, of which it needs the space and the name of the metric."""
    return RandomSearch(problem.space, seed=seed, metric=problem.metric)


def draw_unseen(ledger: Ledger, rng: np.random.Generator, count: int) -> list[Genotype]:
    """Distinct random genotypes that the ledger has not seen: `count`, or all that are left."""
    space = ledger.space
    found: dict[Genotype, None] = {}
    for _ in range(_ATTEMPTS):
        rows = space.sample_array(rng, 2 * count + 16)
        found.update(dict.fromkeys(ledger.fresh(rows)))
        if len(found) >= count:
            return list(found)[:count]
    if space.size > _ENUMERABLE:
        return list(found)
    # The space is nearly exhausted: list all genotypes that are left.
    left = ledger.fresh(space.every_row())
    return [left[i] for i in rng.permutation(len(left))[:count]]
