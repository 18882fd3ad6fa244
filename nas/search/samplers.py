"""Optuna's samplers as searchers: widely used methods, to compare this engine's with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from nas.evaluation.evaluation import Evaluation
from nas.evaluation.measurements import Measurements
from nas.problem.goals import Problem
from nas.search.context import plain
from nas.search.ledger import Ledger
from nas.search.points import excess, points
from nas.search.random import draw_unseen
from search_spaces.space import Genotype

_TRIES = 5

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "optuna-tpe": lambda seed: TPESampler(seed=seed),
    "optuna-tpe-multivariate": lambda seed: TPESampler(seed=seed, multivariate=True),
    "optuna-nsga2": lambda seed: NSGAIISampler(seed=seed),
}
"""Name of a sampler -> its maker from a seed.

Each choice is given to the sampler as an integer, since options ascend in cost.
"""


class OptunaSearch:
    """A searcher that proposes the suggestions of a sampler of Optuna.

    A sampler may suggest a network again. Its known objectives are then told to the sampler at
    once; after several repeats, a random network is proposed instead.

    Args:
        problem: The space, the metric and the goals. The sampler is told every objective, of a
            network beyond the limits multiplied by 1 + excess.
        seed: The seed; with the evaluations told, it determines all proposals.
        sampler: The name of the sampler, one of `SAMPLERS`.

    Raises:
        ValueError: If there is no sampler of that name.
    """

    def __init__(self, problem: Problem, *, seed: int, sampler: str = "optuna-tpe") -> None:
        if sampler not in SAMPLERS:
            raise ValueError(f"no sampler {sampler!r}; there are {', '.join(SAMPLERS)}")
        self._problem, self._space, self._seed = problem, problem.space, seed
        self._ledger = Ledger(problem.space, problem.metric)
        objectives = 1 + sum(len(goal.objectives) for goal in problem.goals)
        with warnings.catch_warnings():  # `multivariate` is marked experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made = SAMPLERS[sampler](seed)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            sampler=made, directions=[StudyDirection.MINIMIZE] * objectives
        )
        optuna.logging.set_verbosity(verbosity)
        self._kinds: dict[str, BaseDistribution] = {
            made.name: IntDistribution(0, len(made.options) - 1) for made in self._space.choices
        }
        self._asked: dict[Genotype, int] = {}
        self._values: dict[Genotype, list[float]] = {}

    def ask(self, count: int) -> list[Genotype]:
        """Up to `count` genotypes; fewer only where the space is exhausted."""
        found: list[Genotype] = []
        for _ in range(_TRIES * count):
            if len(found) == count or self._ledger.seen >= self._space.size:
                break
            trial = self._study.ask(self._kinds)
            picks = tuple(int(trial.params[made.name]) for made in self._space.choices)
            genotype = self._space.canonical(picks)
            if self._ledger.fresh(np.array([genotype])):
                self._asked[genotype] = trial.number
                found += self._ledger.propose([genotype])
            elif genotype in self._values:
                self._study.tell(trial, self._values[genotype])
            else:  # still being evaluated
                self._study.tell(trial, state=TrialState.FAIL)
        rng = np.random.default_rng([self._seed, self._ledger.seen])
        return found + self._ledger.propose(draw_unseen(self._ledger, rng, count - len(found)))

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Tell the evaluations to the sampler, also of networks that it did not suggest."""
        told = self._ledger.record(evaluations)
        for place, evaluation in enumerate(evaluations):
            genotype, known = evaluation.genotype, evaluation.genotype in self._values
            self._values[genotype] = self._valued(told[place : place + 1])
            if genotype in self._asked:
                self._study.tell(self._asked.pop(genotype), self._values[genotype])
            elif not known:
                named = zip(self._space.choices, genotype, strict=True)
                self._study.add_trial(
                    optuna.trial.create_trial(
                        params={made.name: pick for made, pick in named},
                        distributions=self._kinds,
                        values=self._values[genotype],
                    )
                )

    def _valued(self, one: Measurements) -> list[float]:
        """The objectives of one network, multiplied by 1 + excess beyond the limits."""
        (found,) = points(self._problem, one)
        beyond = float(excess(self._problem, one).min())
        return [float(value) * (1 + beyond) for value in found]


tpe, tpe_multivariate, nsga2 = (plain(OptunaSearch, sampler=name) for name in SAMPLERS)
