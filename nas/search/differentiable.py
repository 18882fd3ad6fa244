"""Differentiable search: distributions over options follow the gradient of loss and cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Goal, Problem
from nas.search.context import Context, Exchange
from nas.search.polish import mutants
from nas.search.proposer import Proposer
from search_spaces.space import IntArray, SearchSpace, as_genotypes

FloatArray = NDArray[np.float64]

# Budgets as shares of the way from the cheapest to the dearest network, in logarithms.
BUDGETS = (0.5, 0.1, 0.7, 0.3, 0.9)
_POOL = 1000
_TRIES = 8
# The share of every draw that is uniform, so that no option's probability vanishes.
_UNIFORM = 0.1
_BEYOND = 10.0
_MOST = 50.0


class Differentiable(Proposer):
    """Gradient descent on one categorical distribution per choice, with a trained supernet.

    As in ProxylessNAS (Cai et al. 2019) and Single-Path NAS (Stamoulis et al. 2019), the loss is
    the cross entropy plus a weight times the logarithm of the cost. Here only the cost above a
    budget counts, since a plain weight finds only the convex part of a front.

    Each step draws a network. The gradient for the probability of an option is the change in loss
    (to first order) and cost (exact) from that option. Every goal has one distribution per
    budget. Evaluations that are told do not change the distributions.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed of all draws.
        exchange: The change in loss from other picks; a trained supernet has such a function.
        weight: The loss, in nats, that equals a cost above the budget by a factor of e.
        warmup: Gradient steps of each distribution before its first proposal.
        steps: Gradient steps of each distribution before each later proposal.
        rate: Adam's learning rate for the logits.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        exchange: Exchange,
        weight: float = 2.0,
        warmup: int = 30,
        steps: int = 3,
        rate: float = 0.2,
    ) -> None:
        super().__init__(problem, seed=seed, initial=2)
        self._exchange, self._warmup, self._steps = exchange, warmup, steps
        self._policies = [
            _Policy(problem.space, Above(goal, budget, weight), rate)
            for levels in zip(*(_budgets(problem.space, g) for g in problem.goals), strict=True)
            for goal, budget in zip(problem.goals, levels, strict=True)
        ]
        self._turn = 0

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """Rows from the distributions in turn, after some steps: first modes, then samples."""
        found: list[IntArray] = []
        for _ in range(count):
            policy = self._policies[self._turn % len(self._policies)]
            steps = self._steps if self._turn >= len(self._policies) else self._warmup
            self._turn += 1
            for _ in range(steps):
                policy.step(self._exchange, rng)
            found.append(np.stack([policy.mode(), *(policy.sample(rng) for _ in range(_TRIES))]))
        return self.space.canonical_array(np.concatenate(np.stack(found, axis=1)))


def differentiable(problem: Problem, seed: int, context: Context) -> Differentiable:
    """The searcher for a problem; raises `ValueError` without a trained supernet."""
    return Differentiable(problem, seed=seed, exchange=context.exchange)


@dataclass(frozen=True)
class Above:
    """The penalty for a network's costs; 0 within the budget and the limits."""

    goal: Goal
    budget: FloatArray
    weight: float

    def __call__(self, rows: IntArray) -> FloatArray:
        """The penalty for each row of `(n, choices)` genotypes, in nats, `(n,)`."""
        values, excess = self.goal.assess(rows)
        above = np.log(np.maximum(values / self.budget, 1.0)).sum(axis=1)
        return np.minimum(self.weight * above + _BEYOND * excess, _MOST)


def _budgets(space: SearchSpace, goal: Goal) -> FloatArray:
    """The budgets of every cost objective, `(budgets, objectives)`."""
    ends = np.array([space.smallest, space.largest])
    rows = np.concatenate([ends, space.sample_array(np.random.default_rng(0), _POOL)])
    logs = np.log(np.maximum(goal.values(rows), 1e-12))
    logs = logs[np.isfinite(logs).all(axis=1)]
    if not len(logs):
        return np.ones((len(BUDGETS), len(goal.objectives)))
    low, high = logs.min(axis=0), logs.max(axis=0)
    return np.exp(low + np.array(BUDGETS)[:, None] * (high - low))


class _Policy:
    """One categorical distribution per choice, trained for one goal within one budget."""

    def __init__(self, space: SearchSpace, above: Above, rate: float) -> None:
        self._space, self._above = space, above
        options = np.arange(int(space.counts.max(initial=1)))
        self._there = options < space.counts[:, None]
        self._logits = torch.zeros(self._there.shape, dtype=torch.float64, requires_grad=True)
        self._optimizer = torch.optim.Adam([self._logits], lr=rate)

    def step(self, exchange: Exchange, rng: np.random.Generator) -> None:
        """Draw a network and move the logits by one step along the gradient at that network."""
        row = self._space.canonical_array(self.sample(rng)[None])
        near = mutants(row, self._space)
        other = (near != row).any(axis=1)
        (genotype,) = as_genotypes(row)
        changes = np.zeros(self._there.shape)
        differ = np.zeros(len(near))
        differ[other] = exchange(genotype, as_genotypes(near[other]), rng)
        level = self._above(np.concatenate([row, near]))
        changes[self._there] = differ + level[1:] - level[0]
        policy = self._probabilities()
        gradient = policy * (changes - (policy * changes).sum(axis=1, keepdims=True))
        self._logits.grad = torch.from_numpy(gradient)
        self._optimizer.step()

    def mode(self) -> IntArray:
        """The most probable option of every choice, `(choices,)`."""
        return self._probabilities().argmax(axis=1)

    def sample(self, rng: np.random.Generator) -> IntArray:
        """A random genotype, each choice drawn independently, `(choices,)`."""
        uniform = self._there / self._space.counts[:, None]
        policy = (1 - _UNIFORM) * self._probabilities() + _UNIFORM * uniform
        picks = (rng.random((len(policy), 1)) > policy.cumsum(axis=1)).sum(axis=1)
        return np.minimum(picks, self._space.counts - 1)

    def _probabilities(self) -> FloatArray:
        logits = np.where(self._there, self._logits.detach().numpy(), -np.inf)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)
