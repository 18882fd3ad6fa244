"""Predictor-guided search: evaluate the networks with the largest expected gain in hypervolume.

Each round fits a predictor to all evaluations, evolves networks on predicted loss and costs, and
proposes the networks with the largest expected gain, summed over all goals. Costs that can be
computed are exact; costs that only an evaluation can measure are predicted as well.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.problem.front import nondominated
from nas.problem.goals import Problem
from nas.search.context import Context
from nas.search.evolution import front_ranks
from nas.search.initial import spread_over_costs
from nas.search.inner import Effort, evolve, survivors
from nas.search.learned_cost import log_costs, with_learned_costs
from nas.search.ledger import Ledger
from nas.search.polish import mutants, polish
from nas.search.random import draw_unseen
from nas.search.view import View, total_gains
from predictors.features import Column
from predictors.gaussian import gaussian
from predictors.predictor import Predictor
from predictors.warp import Warp
from search_spaces.space import Genotype, IntArray

FloatArray = NDArray[np.float64]

_ENUMERABLE = 20_000
_POOL = 2_000
_SHORTLIST = 200
_TYPICAL = 1_000


@dataclass(frozen=True)
class Settings:
    """The settings of a guided search.

    Attributes:
        initial: The number of networks in the first batch, before anything is predicted.
        exploration: The least and the largest factor for the predicted standard deviation. Every
            proposal and every inner evolution draws a factor in between, log-uniformly, so that a
            batch holds both safe and bold proposals.
        ceiling: The share of the space's networks whose loss is low enough to be of use.
        effort: The size of the inner evolution; its generations are divided among the goals. The
            default has the brood and the tournaments of NSGA-II.

    Raises:
        ValueError: If the factors of `exploration` are not above 0 and ascending.
    """

    initial: int = 12
    exploration: tuple[float, float] = (0.25, 1.5)
    ceiling: float = 0.75
    effort: Effort = field(default_factory=lambda: Effort(brood=1, tournament=2))

    def __post_init__(self) -> None:
        least, largest = self.exploration
        if not 0 < least <= largest:
            raise ValueError(
                f"exploration is a least and a largest share above 0, given {self.exploration}"
            )


class Guided:
    """A searcher that proposes the networks with the largest expected gain under a predictor.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed; with the evaluations told, it determines all proposals.
        predictor: Learns the metric after a `Warp`; by default a Gaussian process over the picks
            and the logarithms of the goals' costs.
        initial: Genotypes to begin with, such as the best by zero-cost proxies. By default they
            are spread over the goals' costs, or mostly random where a cost has to be measured.
        settings: The sizes of the first batch and of the inner evolution.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        predictor: Predictor | None = None,
        initial: Sequence[Genotype] | None = None,
        settings: Settings = Settings(),  # frozen
    ) -> None:
        goals, self._learned = with_learned_costs(problem.goals, problem.space)
        problem = replace(problem, goals=goals)
        self._problem = problem
        self._space = problem.space
        self._ledger = Ledger(problem.space, problem.metric)
        self._seed = seed
        self._settings = settings
        self._predictor = predictor or default_predictor(problem)
        rng = np.random.default_rng([seed, 0])
        self._typical = self._space.sample_array(rng, _TYPICAL)
        self._initial = (
            self._first(rng)
            if initial is None
            else np.array([self._space.canonical(genotype) for genotype in initial])
        )
        combinations = float(np.prod(self._space.counts.astype(np.float64)))
        # Final population of each goal's inner evolution, from which its next evolution starts.
        self._carried: dict[str, IntArray] = {}
        self._all = self._space.every_row() if combinations <= _ENUMERABLE else None

    def ask(self, count: int) -> list[Genotype]:
        """Up to `count` genotypes: the first batch, then those with the largest expected gain."""
        rng = np.random.default_rng([self._seed, 1, self._ledger.seen])
        found = self._ledger.propose(self._ledger.fresh(self._initial, at_most=count))
        if len(found) < count and self._ledger.answered >= 2:
            # Matrices are small: more threads only wait, and sums would depend on their number.
            with threadpool_limits(1, user_api="blas"):
                rows = self._choose(rng, count - len(found))
            found += self._ledger.propose(self._ledger.fresh(rows))
        return found + self._ledger.propose(self._fill(rng, count - len(found)))

    def _first(self, rng: np.random.Generator) -> IntArray:
        """The first batch: spread over the costs; mostly random where a cost must be measured."""
        count = self._settings.initial
        if not self._learned:
            return spread_over_costs(self._problem, rng, count)
        # The ends assume that options ascend in cost; an even spread would rely on that too much.
        ends = spread_over_costs(self._problem, rng, min(2, count))
        return np.concatenate([ends, self._typical[: count - len(ends)]])

    def _fill(self, rng: np.random.Generator, count: int) -> list[Genotype]:
        """Up to `count` random unseen genotypes, those within the limits first."""
        if not count:
            return []
        drawn = draw_unseen(self._ledger, rng, _TYPICAL)
        if not drawn:
            return []
        rows = np.array(drawn, dtype=np.int64)
        excess = np.min([goal.violation(rows) for goal in self._problem.goals], axis=0)
        return [drawn[index] for index in np.argsort(excess, kind="stable")[:count]]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Record the evaluations, also of networks that this searcher did not propose."""
        self._ledger.record(evaluations)

    def predict(self, genotypes: IntArray) -> tuple[FloatArray, FloatArray]:
        """The predicted median loss and its downward standard deviation, each `(n,)`.

        The prediction is that of the last fit, which happens in `ask`.
        """
        return self._warp.back(*self._predictor.predict(genotypes))

    def _choose(self, rng: np.random.Generator, count: int) -> IntArray:
        """Up to `count` unseen rows, each with the largest expected gain after those before."""
        told = self._ledger.told()
        self._warp = Warp(told.losses)
        self._predictor.fit(told.rows, self._warp(told.losses))
        for cost in self._learned.values():
            cost.fit(told)
        pool = self._candidates(rng, told)
        if not len(pool):
            return pool
        rows, losses = self._known(told)
        views = [View.of(goal, rows, losses, pool=pool) for goal in self._problem.goals]
        return pool[self._greedily(rng, views, self._predictor.predict(pool), count=count)]

    def _known(self, told: Measurements) -> tuple[IntArray, FloatArray]:
        """The evaluated networks and their losses; pending ones count as predicted."""
        pending = self._ledger.pending
        if not pending:
            return told.rows, told.losses
        waiting = np.array(pending)
        rows = np.concatenate([told.rows, waiting])
        return rows, np.concatenate([told.losses, self.predict(waiting)[0]])

    def _greedily(
        self,
        rng: np.random.Generator,
        views: list[View],
        prediction: tuple[FloatArray, FloatArray],
        *,
        count: int,
    ) -> list[int]:
        """The places of candidates, chosen one by one; those chosen before count as predicted."""
        mean, spread = prediction
        medians, _ = self._warp.back(mean, spread)
        ceiling = float(np.quantile(self.predict(self._typical)[0], self._settings.ceiling))

        def gain(share: float, places: NDArray[np.intp]) -> FloatArray:
            promise = mean - share * spread
            lands = [view.landscape(self._warp, promise, ceiling) for view in views]
            short = [view.of_candidates(places) for view in views]
            means, spreads = mean[places], share * spread[places]
            return total_gains(short, lands, warp=self._warp, mean=means, spread=spreads)

        everywhere = np.arange(len(mean))
        found = [gain(share, everywhere) for share in self._settings.exploration]
        places = np.unique([np.argsort(-one, kind="stable")[:_SHORTLIST] for one in found])
        chosen: list[int] = []
        while len(chosen) < min(count, len(places)):
            best = gain(self._share(rng), places)
            best[np.isin(places, chosen)] = -np.inf
            if best.max() <= 0:
                break
            place = int(places[best.argmax()])
            chosen.append(place)
            views = [view.after(place, float(medians[place])) for view in views]
        return chosen

    def _candidates(self, rng: np.random.Generator, told: Measurements) -> IntArray:
        """The unseen candidate rows: all of a small space, else those found by evolution."""
        if self._all is not None:
            return self._unseen(self._all)
        goals, whole = self._problem.goals, self._settings.effort
        effort = replace(whole, generations=max(4, whole.generations // len(goals)))
        found: list[IntArray] = []
        for goal in goals:
            known = np.column_stack([told.losses, goal.values(told.rows)])
            front = told.rows[nondominated(known)]
            near = mutants(front, self._space)
            carried = self._carried.get(goal.name, front[:0])
            seeds = np.concatenate([front, carried, near[rng.permutation(len(near))]])
            promise = functools.partial(self._promise, share=self._share(rng))
            pool, scores = evolve(self._space, goal, promise, seeds=seeds, effort=effort, rng=rng)
            pool, scores = polish(self._space, goal, promise, rows=pool, scores=scores, rng=rng)
            self._carried[goal.name] = pool[survivors(scores, 3 * effort.population // 4)]
            best = np.concatenate(front_ranks(scores, until=min(len(pool), _POOL // len(goals))))
            found.append(pool[best])
        return self._unseen(np.unique(np.concatenate(found), axis=0))

    def _promise(self, rows: IntArray, *, share: float) -> FloatArray:
        """An optimistic loss per row, `(n,)`: `share` standard deviations below the prediction."""
        mean, spread = self._predictor.predict(rows)
        return mean - share * spread

    def _share(self, rng: np.random.Generator) -> float:
        return float(np.exp(rng.uniform(*np.log(self._settings.exploration))))

    def _unseen(self, rows: IntArray) -> IntArray:
        fresh = self._ledger.fresh(rows)
        return np.array(fresh, dtype=np.int64).reshape(-1, rows.shape[1])


def guided(problem: Problem, seed: int, context: Context) -> Guided:
    """The searcher for a problem, with all that is known before the search."""
    initial: Sequence[Genotype] | None = None
    for knowledge in (context.probe, context.experience):
        if knowledge is not None:
            initial = knowledge.first(Settings().initial)
    if context.known:  # what is known already tells more than any first batch
        initial = ()
    predictor = context.predictor(problem.space, columns_known(problem, context))
    return Guided(problem, seed=seed, predictor=predictor, initial=initial)


def default_predictor(problem: Problem) -> Predictor:
    """A Gaussian process over the picks and the logarithms of all known cost objectives."""
    return gaussian(problem.space, default_columns(problem))


def columns_known(problem: Problem, context: Context) -> list[Column]:
    """The default columns, then those of all that is known before the search."""
    known = [held for held in (context.probe, context.experience) if held is not None]
    return [*default_columns(problem), *(column for held in known for column in held.columns())]


def default_columns(problem: Problem) -> list[Column]:
    """The logarithms of all cost objectives that can be computed, as feature columns.

    Costs that are measured or learned are left out.
    """
    return [*log_costs(problem.goals)]
