"""The first batch: spread over what networks cost, and over the options."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.objectives import Problem
from search_spaces.space import IntArray, SearchSpace

_POOL = 4096


def spread_over_costs(problem: Problem, rng: np.random.Generator, count: int) -> IntArray:
    """`count` feasible rows, by rank of cost evenly spread and different in their options.

    Begins with the dearest and the cheapest network of the pool. Costs are those of every goal;
    ranks are used, so a space whose costs pile up at one end is still covered.
    """
    rows = _pool(problem.space, rng)
    feasible = [goal.violation(rows) == 0 for goal in problem.goals]
    allowed = np.any(feasible, axis=0)
    rows = rows[allowed] if allowed.any() else rows
    costs = np.column_stack([goal.values(rows) for goal in problem.goals])
    ranks = np.column_stack([_rank(column) for column in costs.T])
    level = _rank(ranks.mean(axis=1))
    options = rows / np.maximum(problem.space.counts - 1, 1)
    spread = np.column_stack([options / np.sqrt(options.shape[1]), 2 * level])
    return rows[_farthest(spread, [int(level.argmax()), int(level.argmin())], count)]


def _pool(space: SearchSpace, rng: np.random.Generator) -> IntArray:
    """Random rows, half of them leaning to a random degree towards first or last options."""
    plain = space.sample_array(rng, _POOL // 2)
    lean = rng.beta(0.7, 0.7, size=(_POOL // 2, 1))
    tilted = rng.binomial(np.broadcast_to(space.counts - 1, (_POOL // 2, len(space.counts))), lean)
    ends = np.array([space.smallest, space.largest])
    return np.unique(space.canonical_array(np.concatenate([ends, plain, tilted])), axis=0)


def _rank(column: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(np.argsort(column, kind="stable"), kind="stable")
    return order / max(1, len(column) - 1)


def _farthest(points: NDArray[np.float64], start: list[int], count: int) -> list[int]:
    """Indices of `count` points, each the farthest from those before."""
    chosen = list(dict.fromkeys(start))[:count]
    distance = np.full(len(points), np.inf)
    for index in chosen:
        distance = np.minimum(distance, ((points - points[index]) ** 2).sum(axis=1))
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return chosen
