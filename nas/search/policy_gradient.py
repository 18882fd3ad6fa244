"""Policy gradient search: distributions over networks move towards networks of high reward."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.evaluation.measurements import Measurements
from nas.problem.goals import Problem
from nas.search.context import plain
from nas.search.points import Scalar, excess, points
from nas.search.proposer import Proposer
from search_spaces.space import IntArray

FloatArray = NDArray[np.float64]

_TRIES = 8
_MEMORY = 0.9


class PolicyGradient(Proposer):
    """REINFORCE with a moving baseline (Williams 1992) on one categorical per choice.

    N2N learning (Ashok et al. 2018) rewards accuracy times compression. To find a front, several
    policies take turns here, and each has its own trade-off weights for the reward. The policies
    are computed again from all evaluations in their order, so no state is kept.

    Args:
        problem: The space, the metric and the goals.
        seed: The seed; with the evaluations told, it determines all proposals.
        initial: The number of random networks that are proposed first; their mean reward is the
            first baseline.
        policies: The number of policies.
        rate: The step size of a policy's logits per evaluation.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        initial: int = 20,
        policies: int = 5,
        rate: float = 10.0,
    ) -> None:
        super().__init__(problem, seed=seed, initial=initial)
        self._policies, self._rate = policies, rate
        self._options = np.arange(int(self.space.counts.max(initial=1)))
        self._allowed = self._options < self.space.counts[:, None]

    def ideas(self, rng: np.random.Generator, told: Measurements, *, count: int) -> IntArray:
        """Random networks from the policies in turn."""
        trained = [self._trained(number, told) for number in range(self._policies)]
        turns = (self._ledger.seen + np.arange(_TRIES * count)) % self._policies
        drawn = np.stack([self._sample(trained[turn], rng) for turn in turns])
        return self.space.canonical_array(drawn)

    def _trained(self, number: int, told: Measurements) -> FloatArray:
        """The probabilities `(choices, options)` of a policy, trained on its own evaluations."""
        rows, found = told.rows, points(self.problem, told)
        beyond = excess(self.problem, told)
        weights = np.random.default_rng([self._seed, number])
        reward = -Scalar(found, weights)(found, beyond)
        baseline = float(np.mean(reward[: self._initial]))
        logits = np.where(self._allowed, 0.0, -np.inf)
        for position in range(number, len(rows), self._policies):
            policy = _softmax(logits)
            picked = rows[position][:, None] == self._options
            advantage = float(reward[position]) - baseline
            logits = np.where(
                self._allowed, logits + self._rate * advantage * (picked - policy), -np.inf
            )
            baseline = _MEMORY * baseline + (1 - _MEMORY) * float(reward[position])
        return _softmax(logits)

    def _sample(self, policy: FloatArray, rng: np.random.Generator) -> IntArray:
        picks = (rng.random((len(policy), 1)) > policy.cumsum(axis=1)).sum(axis=1)
        return np.minimum(picks, self.space.counts - 1)


policy_gradient = plain(PolicyGradient)


def _softmax(logits: FloatArray) -> FloatArray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
