"""Evolutionary search by true evaluations, through pymoo; only this file imports pymoo."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import binary_tournament
from pymoo.algorithms.moo.nsga3 import ReferenceDirectionSurvival
from pymoo.algorithms.moo.rnsga2 import RankAndModifiedCrowdingSurvival
from pymoo.algorithms.moo.sms import LeastHypervolumeContributionSurvival
from pymoo.core.infill import InfillCriterion
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.core.survival import Survival
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from pymoo.util.ref_dirs import get_reference_directions

from nas.evaluation.evaluation import Evaluation
from nas.problem.goals import Problem
from nas.search.context import plain
from nas.search.ledger import Ledger
from nas.search.points import excess, points
from nas.search.random import draw_unseen
from search_spaces.space import Genotype, IntArray, SearchSpace

FloatArray = NDArray[np.float64]

_MATINGS = 10
_POPULATION = 20  # of searches by name, whose budgets are small
_ASPIRATIONS = 5


def front_ranks(found: FloatArray, *, until: int) -> list[NDArray[np.intp]]:
    """The positions of points `(n, objectives)`, front by front, until `until` are ranked.

    pymoo's compiled sort needs a few tens of microseconds for 400 points.
    """
    fronts: Any = NonDominatedSorting().do(found, n_stop_if_ranked=until)
    return fronts


@dataclass(frozen=True)
class Method:
    """The parts in which evolutionary algorithms differ: survival and tournament.

    Attributes:
        survival: Makes the survival operator, from the points `(n, objectives)` of the first
            population and the population size.
        tournament: pymoo's comparison of two individuals, whose winner may have children.
    """

    survival: Callable[[FloatArray, int], Survival]
    tournament: Callable[..., Any]


class Evolution:
    """A genetic algorithm on the metric and every goal's cost objectives.

    Offspring have uniform crossover and one reset gene on average; duplicates are not proposed.
    The survivors are chosen among all evaluations so far, so batches may have any size.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed; with the evaluations told, it determines all proposals.
        population: The number of survivors, and of random genotypes that are proposed first.
        method: The name of the algorithm, one of `METHODS`.
    """

    def __init__(
        self, problem: Problem, *, seed: int, population: int = 50, method: str = "nsga2"
    ) -> None:
        if population < 2:
            raise ValueError(f"evolution needs a population of at least 2, given {population}")
        if method not in METHODS:
            raise ValueError(f"no evolution {method!r}; there are {', '.join(METHODS)}")
        self._problem = problem
        self._ledger = Ledger(problem.space, problem.metric)
        self._seed = seed
        self._size = population
        self._method = METHODS[method]
        self._survival: Survival | None = None
        self._population = Population.create()
        objectives = 1 + sum(len(goal.objectives) for goal in problem.goals)
        self._pymoo_problem = PymooProblem(
            n_var=len(problem.space.choices),
            n_obj=objectives,
            n_ieq_constr=len(problem.goals),
            vtype=int,
        )
        self._mating = _mating(problem.space, self._method.tournament)

    def ask(self, count: int) -> list[Genotype]:
        """Up to `count` genotypes: random until the population is full, then offspring."""
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
        latest = self._ledger.record(evaluations)
        F, G = points(self._problem, latest), excess(self._problem, latest)
        told = Population.new(X=latest.rows, F=F, G=G)
        merged: Any = Population.merge(self._population, told)
        if self._survival is None or self._ledger.answered <= self._size:
            # Made again until the first population is complete, also if few are told at once.
            self._survival = self._method.survival(merged.get("F"), self._size)
        self._population = self._survival.do(
            self._pymoo_problem,
            merged,
            n_survive=self._size,
            random_state=np.random.default_rng([self._seed, self._ledger.answered]),
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


def _by_rank(pop: Any, P: Any, *_args: Any, random_state: Any = None, **_: Any) -> Any:
    """The winner of each pair: the individual within the limits, else of the lower front."""
    beyond = pop.get("CV")[:, 0][P]
    front = np.array([np.inf if (r := one.get("rank")) is None else r for one in pop])[P]
    tie = random_state.random(P.shape)
    best = [np.lexsort((t, f, b))[0] for b, f, t in zip(beyond, front, tie, strict=True)]
    return np.take_along_axis(P, np.array(best)[:, None], axis=1)


def _directions(found: FloatArray, size: int) -> Survival:
    """The survival of NSGA-III, with as many reference directions as survivors."""
    return ReferenceDirectionSurvival(_spread_directions(found.shape[1], size))


@functools.lru_cache(maxsize=8)
def _spread_directions(objectives: int, size: int) -> FloatArray:
    """Evenly spread reference directions, `(size, objectives)`.

    More than two objectives use the Riesz s-energy (Blank et al. 2021), which takes seconds.
    """
    if objectives == 2:
        return get_reference_directions("das-dennis", 2, n_partitions=size - 1)
    return get_reference_directions("energy", objectives, size, seed=1)


def _aspirations(found: FloatArray, _size: int) -> Survival:
    """The survival of R-NSGA-II, around points between the first population's least and median."""
    low, middle = found.min(axis=0), np.median(found, axis=0)
    share = np.linspace(0, 1, _ASPIRATIONS)[:, None]
    near = np.column_stack([share, np.repeat(1 - share, found.shape[1] - 1, axis=1)])
    wanted = low + near * (middle - low)
    return RankAndModifiedCrowdingSurvival(wanted, 0.001, None, "front", False)  # noqa: FBT003


def _adaptive_geometry(_found: FloatArray, _size: int) -> Survival:
    """The survival of AGE-MOEA, which pymoo compiles with numba; its import needs numba."""
    from pymoo.algorithms.moo.age import AGEMOEASurvival

    return AGEMOEASurvival()


METHODS: dict[str, Method] = {
    "nsga2": Method(lambda found, size: RankAndCrowding(), binary_tournament),
    "nsga3": Method(_directions, _by_rank),
    "sms-emoa": Method(lambda found, size: LeastHypervolumeContributionSurvival(), _by_rank),
    "age-moea": Method(_adaptive_geometry, _by_rank),
    "r-nsga2": Method(_aspirations, _by_rank),
}
"""The algorithms: NSGA-II (Deb et al. 2002), NSGA-III (Deb and Jain 2014), SMS-EMOA (Beume et al.
2007), AGE-MOEA (Panichella 2019), R-NSGA-II (Deb and Sundar 2006)."""

nsga2, nsga3, sms_emoa, age_moea, r_nsga2 = (
    plain(Evolution, population=_POPULATION, method=name) for name in METHODS
)


class _Reset(Mutation):
    """A mutation that draws each gene again, uniformly, with probability 1 / number of genes."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self._counts = space.counts

    def _do(self, problem: Any, X: Any, *args: Any, random_state: Any = None, **_: Any) -> Any:
        drawn = random_state.integers(0, self._counts, size=X.shape)
        return np.where(random_state.random(X.shape) < 1 / X.shape[1], drawn, X)


class _Canonical(Repair):
    """A repair operator that brings offspring to canonical form."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self._space = space

    def _do(self, problem: Any, X: Any, **_: Any) -> Any:
        return self._space.canonical_array(X.astype(np.int64))


def _mating(space: SearchSpace, tournament: Callable[..., Any]) -> InfillCriterion:
    return Mating(
        TournamentSelection(func_comp=tournament),
        UniformCrossover(prob=0.9),
        _Reset(space),
        repair=_Canonical(space),
        n_max_iterations=1,
    )
