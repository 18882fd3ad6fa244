"""NSGA-II by true evaluations, through pymoo: the only file that knows pymoo."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import binary_tournament
from pymoo.core.infill import InfillCriterion
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from nas.evaluate import Evaluation
from nas.objectives import Problem
from nas.search.ledger import Ledger
from nas.search.random import draw_unseen
from search_spaces.space import Genotype, IntArray, SearchSpace

FloatArray = NDArray[np.float64]

_UNREACHABLE = 1e12
_MATINGS = 10


def front_ranks(points: FloatArray, *, until: int) -> list[NDArray[np.intp]]:
    """Indices of `points` `(n, objectives)` front by front, till `until` of them are ranked.

    pymoo's compiled sort; a few tens of microseconds for 400 points.
    """
    fronts: Any = NonDominatedSorting().do(points, n_stop_if_ranked=until)
    return fronts


class Nsga2:
    """NSGA-II on the metric and every goal's cost objectives (Deb et al. 2002).

    Uniform crossover, one reset gene on average, duplicates never proposed again. The survivors are
    chosen among all that was told so far, so batches may have any size.

    Args:
        problem: What to search, and for what.
        seed: Fixes the sequence.
        population: How many survive; as many random genotypes are proposed first.
    """

    def __init__(self, problem: Problem, *, seed: int, population: int = 50) -> None:
        if population < 2:
            raise ValueError(f"NSGA-II needs a population of at least 2, given {population}")
        self._problem = problem
        self._ledger = Ledger(problem.space, problem.metric)
        self._seed = seed
        self._size = population
        self._population = Population.create()
        self._survival = RankAndCrowding()
        self._pymoo_problem = PymooProblem(n_var=len(problem.space.choices), vtype=int)
        self._mating = _mating(problem.space)

    def ask(self, count: int) -> list[Genotype]:
        """Up to `count` genotypes: random ones till the population is full, then offspring."""
        rng = np.random.default_rng([self._seed, self._ledger.seen])
        found: list[Genotype] = []
        missing = max(0, min(count, self._size - self._ledger.seen))
        found += self._ledger.propose(draw_unseen(self._ledger, rng, missing))
        if len(self._population) >= 2:
            for _ in range(_MATINGS):
                if len(found) >= count:
                    break
                rows = self._offspring(rng, count)
                fresh = self._ledger.fresh(rows, at_most=count - len(found))
                found += self._ledger.propose(fresh)
        return found + self._ledger.propose(draw_unseen(self._ledger, rng, count - len(found)))

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Merge the evaluations into the population and keep the best."""
        if not evaluations:
            return
        self._ledger.record(evaluations)
        rows = np.array([evaluation.genotype for evaluation in evaluations])
        losses = [self._ledger.losses[tuple(row)] for row in rows.tolist()]
        costs = [goal.values(rows) for goal in self._problem.goals]
        excess = np.stack([goal.violation(rows) for goal in self._problem.goals], axis=1)
        F = np.column_stack([losses, *costs])
        told = Population.new(
            X=rows,
            F=np.minimum(F, _UNREACHABLE),
            G=np.minimum(excess, _UNREACHABLE),
        )
        self._population = self._survival.do(
            self._pymoo_problem,
            Population.merge(self._population, told),
            n_survive=self._size,
            random_state=np.random.default_rng([self._seed, len(self._ledger.losses)]),
        )

    def _offspring(self, rng: np.random.Generator, count: int) -> IntArray:
        made: Any = self._mating.do(
            self._pymoo_problem,
            self._population,
            max(2, count),
            random_state=rng,
            algorithm=SimpleNamespace(tournament_type="comp_by_dom_and_crowding", random_state=rng),
        )
        return made.get("X").astype(np.int64)


class _Reset(Mutation):
    """Draws a gene anew, uniformly, with a probability of one over the number of genes."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self._counts = space.counts

    def _do(self, problem: Any, X: Any, *args: Any, random_state: Any = None, **_: Any) -> Any:
        drawn = random_state.integers(0, self._counts, size=X.shape)
        return np.where(random_state.random(X.shape) < 1 / X.shape[1], drawn, X)


class _Canonical(Repair):
    """Brings offspring to canonical form."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self._space = space

    def _do(self, problem: Any, X: Any, **_: Any) -> Any:
        return self._space.canonical_array(X.astype(np.int64))


def _mating(space: SearchSpace) -> InfillCriterion:
    return Mating(
        TournamentSelection(func_comp=binary_tournament),
        UniformCrossover(prob=0.9),
        _Reset(space),
        repair=_Canonical(space),
        n_max_iterations=1,
    )
